"""What models answer to held-out rows: their classes, labels or quantities, probabilities, and the loss of each row."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nightune.models.data.dataset import Dataset, Examples
from nightune.models.errors import InputError
from nightune.models.networks.heads import Head
from nightune.models.networks.row_losses import losses_of_outputs, measure_of
from nightune.models.networks.thresholds import best_threshold
from nightune.models.networks.trained_rows import TrainedMeasure
from nightune.models.networks.truth import truth
from nightune.models.serving.predictor import Predictor
from nightune.models.serving.probabilities import decided_places, described_probabilities
from nightune.vocabulary import DEFAULT_THRESHOLD


@dataclass(frozen=True, eq=False)
class HeldOut:
    """The answers of several models to the same rows.

    Of classes: places (rows,) and (models, rows). Of labels: 0 and 1, (rows, labels) and (models, rows, labels). Of
    quantities: in the units of the data, (rows, quantities) and (models, rows, columns). `probabilities` are those of
    all classes or labels, (models, rows, size), None where outputs are none.
    """

    truths: np.ndarray
    predicted: np.ndarray
    losses: np.ndarray  # (models, rows)
    measure: str
    probabilities: np.ndarray | None = None


def held_out_answers(
    outputs: Sequence[np.ndarray], dataset: Dataset, head: Head, examples: Examples, threshold: str | float
) -> HeldOut:
    """Return the answers by finite outputs (rows, size) of each model; `threshold` is the study's, of two classes."""
    described = {**dataset.description, **head.description}
    wanted = truth(dataset, examples)  # type: ignore[arg-type] # of any examples
    measure = measure_of("val_loss", dataset.task, TrainedMeasure.of(head, dataset))
    view = Predictor(None, dataset.preprocessing, described)
    losses = np.stack([losses_of_outputs(view, each, wanted, measure) for each in outputs])
    if dataset.task == "regression":
        answers = np.stack([view.answers(each).reshape(len(each), -1) for each in outputs])
        return HeldOut(wanted.values, answers, losses, str(measure))
    probabilities = _probabilities(outputs, described)
    if dataset.task == "multilabel":
        answers = np.stack([view.answers(each) for each in outputs])
        return HeldOut(examples.targets.reshape(answers.shape[1:]), answers, losses, str(measure), probabilities)
    answers = np.stack([_classes(each, described, examples, threshold) for each in outputs])
    return HeldOut(examples.targets.astype(np.int64), answers, losses, str(measure), probabilities)


def _probabilities(outputs: Sequence[np.ndarray], described: dict[str, Any]) -> np.ndarray | None:
    """Return the probabilities of all models; None where a loss of the user reads outputs as something else."""
    try:
        return np.stack([described_probabilities(each, described) for each in outputs])
    except InputError:
        return None


def _classes(outputs: np.ndarray, described: dict[str, Any], examples: Examples, threshold: str | float) -> np.ndarray:
    if threshold == DEFAULT_THRESHOLD:
        return decided_places(outputs, described)
    second = described_probabilities(outputs, described)[:, 1]
    if isinstance(threshold, str):
        threshold = best_threshold(threshold, second, examples.targets, examples.weights)
    return decided_places(outputs, {**described, "threshold": threshold})
