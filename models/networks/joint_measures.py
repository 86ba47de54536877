"""The losses that the promotion gate compares for models of several heads: of one of them, or the sum of all."""

from dataclasses import dataclass, replace

import numpy as np
from keras.losses import mean_squared_error

from nightune.models.data.dataset import Dataset
from nightune.models.data.heads import HeadData, metric_of_head
from nightune.models.networks.heads import Head
from nightune.models.networks.joint_heads import JointHead
from nightune.models.networks.losses import ExampleLoss, TrainedLoss
from nightune.models.networks.row_losses import Measure, losses_of_outputs, measure_of, trivial_losses
from nightune.models.networks.rows_as_trained import mean_one
from nightune.models.networks.trained_rows import TrainedMeasure
from nightune.models.networks.truth import Truth
from nightune.models.serving.head_outputs import own_outputs
from nightune.models.serving.predictor import Predictor


def measure_of_objective(objective: str, dataset: Dataset, head: Head) -> Measure:
    """Return the loss of a row for an objective, of several heads for that of one of them or for their sum."""
    if not isinstance(head, JointHead):
        trained = TrainedMeasure.of(head, dataset)
        return trained if trained is not None and head.parameters else measure_of(objective, dataset.task, trained)
    found = metric_of_head(objective, dataset.heads)
    if found is None:
        return JointMeasure.of(head, dataset)
    data, metric = found
    return measure_of_objective(metric, dataset.of_head(data), head.part(data.name).head)


@dataclass(frozen=True, eq=False)
class JointMeasure:
    """The weighted sum of the training losses of several heads, each in the scale that it was trained in."""

    parts: tuple[tuple[HeadData, float, Measure], ...]

    @classmethod
    def of(cls, head: JointHead, dataset: Dataset) -> "JointMeasure":
        """Return the measure of all heads whose loss has a weight."""
        trained = [each for each in head.parts if each.weight]
        parts = [(each.data, each.weight, _own_measure(each.head, dataset.of_head(each.data))) for each in trained]
        return cls(tuple(parts))

    def __str__(self) -> str:
        return " + ".join(f"{weight:g} {measure} of {data.name}" for data, weight, measure in self.parts)

    def rows(self, predictor: Predictor, outputs: np.ndarray, truth: Truth) -> np.ndarray:
        """Return the loss of each row, (rows,) float64, from the outputs of all heads; NaN if one is not finite."""
        total = np.zeros(len(outputs))
        for data, weight, measure in self.parts:
            view = predictor.of_head(data.name)
            own, known = own_outputs(outputs, view.description), truth.heads[data.name]
            total += weight * _shares(known, truth) * losses_of_outputs(view, own, known, measure)
        return np.where(np.isfinite(outputs).all(axis=1), total, np.nan)

    def trivial_rows(self, dataset: Dataset, truth: Truth) -> np.ndarray:
        """Return the loss of each row of the best constants of all heads."""
        total = np.zeros(len(truth.values))
        for data, weight, measure in self.parts:
            known = truth.heads[data.name]
            total += weight * _shares(known, truth) * trivial_losses(dataset.of_head(data), known, measure)
        return total


def _shares(own: Truth, whole: Truth) -> np.ndarray | float:
    """Return the factors of a head's losses whose rows have weights of their own, (rows,), with a mean of 1."""
    return mean_one(own.weights, whole.weights)


def _own_measure(head: Head, dataset: Dataset) -> Measure:
    """Return the training loss of one head; squared errors of scaled targets as they are trained, to be added."""
    is_plain = head.loss is None or head.loss.example_loss is None
    if is_plain and head.kind == "quantities" and "target_scale" in dataset.description:
        loss = TrainedLoss("mse", head.because, ExampleLoss("mse", mean_squared_error))
        head = replace(head, loss=loss)
    return measure_of("val_loss", dataset.task, TrainedMeasure.of(head, dataset))
