"""The training loss as the loss of a test row: the gate compares models in the loss that they were trained with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from nightune.models.data.dataset import Dataset
from nightune.models.networks.constant_guesses import class_shares, mean_of, quantiles_of
from nightune.models.networks.heads import Head
from nightune.models.networks.losses import TrainedLoss
from nightune.models.networks.metrics import CLIP, log_probabilities
from nightune.models.networks.metrics_by_weight import mean_by_weight
from nightune.models.networks.own_outputs import best_constant, parameters_of
from nightune.models.networks.truth import Truth, quantities_of
from nightune.models.serving.predictor import Predictor

# Candidates for the best constant: quantiles of the training targets, and powers of the classes' shares.
LEVELS = np.linspace(0.01, 0.99, 99)
POWERS = (1.0, 0.25, 0.5, 0.75, 1.5, 2.0, 4.0, 32.0)


class RowMeasure(Protocol):
    """A loss of test rows, of a model and of the best constant; its text names it."""

    def rows(self, predictor: Predictor, outputs: np.ndarray, truth: Truth) -> np.ndarray:
        """Return the loss of each row, (rows,), from outputs (rows, size); NaN if an output is not finite."""

    def trivial_rows(self, dataset: Dataset, truth: Truth) -> np.ndarray:
        """Return the loss of each row of the best constant of the training rows."""


@dataclass(frozen=True, eq=False)
class TrainedMeasure:
    """The loss of a candidate's head, in the scale of targets and the order of classes that it was trained with."""

    head: Head
    loss: TrainedLoss
    classes: tuple[object, ...]
    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, head: Head, dataset: Dataset) -> "TrainedMeasure | None":
        """Return the measure of a head, None if its loss is the task's default one."""
        if head.loss is None or head.loss.example_loss is None:
            return None
        scale = dataset.description.get("target_scale", {"mean": [0.0], "deviation": [1.0]})
        mean, deviation = np.array(scale["mean"]), np.array(scale["deviation"])
        return cls(head, head.loss, tuple(np.array(dataset.classes or ()).tolist()), mean, deviation)

    def __str__(self) -> str:
        return f"training loss {self.loss.name}"

    def rows(self, predictor: Predictor, outputs: np.ndarray, truth: Truth) -> np.ndarray:
        """Return the loss of each row, (rows,) float64, from outputs (rows, size); NaN if an output is not finite.

        Another model's outputs are converted: its quantities to the candidate's scale and order, its probabilities to
        the candidate's outputs, classes and labels.
        """
        finite = np.isfinite(outputs).all(axis=1)
        readable = np.where(finite[:, None], outputs, 0.0).astype(np.float64)
        if self.head.parameters:
            converted = parameters_of(predictor, readable, len(self.head.parameters))
        elif self.head.kind == "quantities":
            converted = self._scaled(quantities_of(predictor, readable, truth, self.head.quantiles))
        else:
            converted = self._as_trained(predictor, readable)
        return np.where(finite, self.loss.rows(converted, self._targets(truth)), np.nan)

    def trivial_rows(self, dataset: Dataset, truth: Truth) -> np.ndarray:
        """Return the loss of each row of the constant with the lowest loss of the training rows."""
        known, weights = dataset.train.targets, truth.training_weights(dataset)
        if self.head.parameters:
            best = self.constant_parameters(dataset, weights)[None]
        elif self.head.quantiles:
            best = quantiles_of(known.astype(np.float64), np.array(self.head.quantiles), weights).reshape(1, -1)
        else:
            targets = self.head.targets(known)
            constants = self._constants(known, weights)
            means = [
                mean_by_weight(self.loss.rows(np.broadcast_to(each, (len(known), each.shape[1])), targets), weights)
                for each in constants
            ]
            best = constants[int(np.nanargmin(means))]
        return self.loss.rows(np.repeat(best, len(truth.values), axis=0), self._targets(truth))

    def constant_parameters(self, dataset: Dataset, weights: np.ndarray | None) -> np.ndarray:
        """Return constant parameters of a low loss of the training rows, (size,)."""
        return best_constant(self.loss, self.head.parameters, self.head.targets(dataset.train.targets), weights)

    def _constants(self, known: np.ndarray, weights: np.ndarray | None) -> list[np.ndarray]:
        """Return candidates for the best constant, (1, size) each."""
        if self.head.kind == "quantities":
            values = known.astype(np.float64).reshape(len(known), -1)
            return [each[None] for each in (mean_of(values, weights), *quantiles_of(values, LEVELS, weights))]
        if self.head.kind == "labels":
            shares = np.clip(mean_of(known, weights), CLIP, 1.0 - CLIP)
            pairs = np.log(np.stack([1.0 - shares, shares], axis=1))
            return [self._label_form(_normalized(power * pairs))[None] for power in POWERS]
        shares = class_shares(known, len(self.classes), weights)
        logs = np.log(np.maximum(shares, CLIP))[None]
        return [self._form(_normalized(power * logs)) for power in POWERS]

    def _targets(self, truth: Truth) -> np.ndarray:
        """Return the true values as training reads them."""
        if self.head.kind == "quantities":
            return self.head.targets(self._scaled(truth.values))
        if self.head.kind == "labels":
            return self.head.targets(truth.values)
        index = {label: number for number, label in enumerate(self.classes)}
        return self.head.targets(np.array([index[label] for label in truth.values.tolist()]))

    def _scaled(self, values: np.ndarray) -> np.ndarray:
        scaled: np.ndarray = (values - self.mean) / self.deviation
        return scaled

    def _as_trained(self, predictor: Predictor, outputs: np.ndarray) -> np.ndarray:
        description = predictor.description
        is_alike = tuple(description["classes"]) == self.classes and description["is_logits"] == self.head.is_logits
        if self.head.kind == "labels":
            return outputs if is_alike else self._of_labels(description["classes"], description["is_logits"], outputs)
        if is_alike and (outputs.shape[1] == 1) == (self.head.kind == "two classes"):
            return outputs
        logs = log_probabilities(outputs, description["is_logits"])
        places = {label: number for number, label in enumerate(description["classes"])}
        lost = np.full(len(logs), np.log(CLIP))  # a label that the model does not know
        columns = [logs[:, places[label]] if label in places else lost for label in self.classes]
        return self._form(np.stack(columns, axis=1))

    def _of_labels(self, own: Sequence[object], is_logits: bool, outputs: np.ndarray) -> np.ndarray:
        places = {label: number for number, label in enumerate(own)}
        lost = np.log(np.broadcast_to([1.0 - CLIP, CLIP], (len(outputs), 2)))
        columns = [
            log_probabilities(outputs[:, [places[label]]], is_logits) if label in places else lost
            for label in self.classes
        ]
        return np.stack([self._label_form(each) for each in columns], axis=1)

    def _label_form(self, pairs: np.ndarray) -> np.ndarray:
        """Convert log-probabilities that a label lacks and holds, (rows, 2), to the candidate's outputs, (rows,)."""
        converted: np.ndarray = pairs[:, 1] - pairs[:, 0] if self.head.is_logits else np.exp(pairs[:, 1])
        return converted

    def _form(self, logs: np.ndarray) -> np.ndarray:
        """Convert log-probabilities of the candidate's classes to outputs as its own are."""
        if self.head.kind == "two classes":
            return self._label_form(logs)[:, None]
        converted: np.ndarray = logs if self.head.is_logits else np.exp(logs)
        return converted


def _normalized(logs: np.ndarray) -> np.ndarray:
    normalized: np.ndarray = logs - np.logaddexp.reduce(logs, axis=1, keepdims=True)
    return normalized
