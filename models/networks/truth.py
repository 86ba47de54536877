"""The true values of test rows, and the predicted quantities in the same form."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nightune.models.data.dataset import Dataset, UnsealedExamples
from nightune.models.errors import InputError
from nightune.models.networks.metrics import points
from nightune.models.serving.predictor import Predictor, in_units
from nightune.models.techniques.losses import HAS_PARAMETERS
from nightune.vocabulary import POSITIONS


@dataclass(frozen=True, eq=False)
class Truth:
    """The true values of the test rows: a class each, or quantities (rows, quantities) in the units of the data.

    With `labels` the values are 0 and 1, (rows, labels). `names` are those of several quantities, if they have names.
    `weights` are (rows,); None if all rows weigh the same in metrics.
    """

    values: np.ndarray
    is_regression: bool
    labels: tuple[Any, ...] | None = None
    names: tuple[str, ...] = ()
    weights: np.ndarray | None = None
    at_positions: bool = False  # values are a class at each position, (rows, positions); None without a class
    heads: "Mapping[str, Truth]" = field(default_factory=dict)  # those of several heads, `values` are then all targets

    def training_weights(self, dataset: Dataset) -> np.ndarray | None:
        """Return the weights of the training rows for a baseline, if the test rows are compared by theirs."""
        return None if self.weights is None else dataset.train.weights


def truth(dataset: Dataset, test: UnsealedExamples) -> Truth:
    """Convert the test targets back to labels or units of the data."""
    if dataset.heads:
        each = {head.name: truth(dataset.of_head(head), test.of_head(head)) for head in dataset.heads}
        return Truth(test.targets, True, weights=test.weights, heads=each)
    if dataset.task == "multilabel":
        return Truth(test.targets, False, dataset.classes, weights=test.weights)
    if dataset.task == POSITIONS:
        labels = np.array([*(dataset.classes or ()), None], dtype=object)[test.targets]  # -1 is the last
        return Truth(labels, False, weights=test.weights, at_positions=True)
    if dataset.task != "regression":
        return Truth(np.array(dataset.classes)[test.targets], False, weights=test.weights)
    names = tuple(dataset.description.get("outputs", ()))
    quantities = in_units(test.targets.reshape(len(test), -1), dataset.description)
    return Truth(quantities, True, names=names, weights=test.weights)


def quantities_of(
    predictor: Predictor, outputs: np.ndarray, truth: Truth, quantiles: tuple[float, ...] = (), level: float = 0.5
) -> np.ndarray:
    """Return the predicted quantities (rows, quantities) in the order of the true ones: a champion may have another.

    A model of quantiles predicts the one nearest to the level, its median; with `quantiles` these are returned, of a
    model without any its prediction for each of them. InputError if the model does not predict one of the quantities,
    or predicts other quantiles.
    """
    if predictor.description.get(HAS_PARAMETERS):
        raise InputError(
            "training.outputs", "the model predicts parameters of its loss, and no quantities of the target"
        )
    values, own = predictor.answers(outputs).reshape(len(outputs), -1), list(predictor.description.get("outputs", ()))
    theirs = tuple(predictor.description.get("quantiles", ()))
    if theirs and theirs == quantiles:
        return values
    if theirs and quantiles:
        raise InputError("training.quantiles", f"the model predicts the quantiles {theirs}, not {quantiles}")
    values = points(values, theirs, level)
    if own and truth.names:
        lost = [name for name in truth.names if name not in own]
        if lost:
            raise InputError("data.target", f"the model does not predict column {', '.join(map(repr, lost))}")
        return values[:, [own.index(name) for name in truth.names]]
    if values.shape[1] != truth.values.shape[1]:
        problem = f"the model predicts {values.shape[1]} quantities, and the target has {truth.values.shape[1]}"
        raise InputError("data.target", problem)
    return np.repeat(values, len(quantiles), axis=1) if quantiles else values
