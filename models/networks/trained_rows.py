"""The training loss as the loss of a test row: the gate compares models in the loss that they were trained with."""

from dataclasses import dataclass

import numpy as np

from nightune.models.data.dataset import Dataset
from nightune.models.errors import InputError
from nightune.models.networks.heads import Head
from nightune.models.networks.losses import TrainedLoss
from nightune.models.networks.metrics import CLIP, log_probabilities, points
from nightune.models.serving.predictor import Predictor

LEVELS = np.linspace(0.01, 0.99, 99)  # of the training targets, candidates for the best constant


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
        return cls(head, head.loss, tuple(dataset.classes or ()), mean, deviation)

    def __str__(self) -> str:
        return f"training loss {self.loss.name}"

    def rows(self, predictor: Predictor, inputs: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return the loss of each row, (rows,) float64; NaN if an output is not finite.

        `values` are labels, or quantities in the units of the data. Another model's outputs are converted: its
        quantities to the candidate's scale, its probabilities to the candidate's outputs and classes.
        """
        outputs = predictor.outputs(inputs).astype(np.float64)
        finite = np.asarray(np.isfinite(outputs).all(axis=1))
        outputs[~finite] = 0.0
        if self.head.kind == "quantities":
            converted = self._scaled(self._sized(predictor, outputs))
            targets = self._scaled(values)
        else:
            converted, targets = self._as_trained(predictor, outputs), self._indices(values)
        return np.where(finite, self.loss.rows(converted, self.head.targets(targets)), np.nan)

    def trivial_rows(self, dataset: Dataset, values: np.ndarray) -> np.ndarray:
        """Return the loss of each row of the best constant: shares of the classes, or the best of some statistics."""
        known = dataset.train.targets
        if self.head.kind != "quantities":
            shares = np.bincount(known, minlength=len(self.classes)) / len(known)
            constant = self._form(np.log(np.maximum(shares, CLIP))[None])
            targets = self.head.targets(self._indices(values))
        else:
            constant = self._best_constant(known.astype(np.float64).reshape(len(known), -1))
            targets = self.head.targets(self._scaled(values))
        return self.loss.rows(np.repeat(constant, len(targets), axis=0), targets)

    def _best_constant(self, known: np.ndarray) -> np.ndarray:
        """The constant of the lowest training loss among mean and quantiles; of quantiles, each one's own."""
        if self.head.quantiles:
            levels: np.ndarray = np.quantile(known, self.head.quantiles, axis=0).reshape(1, -1)
            return levels
        candidates = [known.mean(axis=0), *np.quantile(known, LEVELS, axis=0)]
        targets = self.head.targets(known)
        means = [self.loss.rows(np.broadcast_to(each, known.shape), targets).mean() for each in candidates]
        return np.asarray(candidates[int(np.nanargmin(means))])[None]

    def _scaled(self, values: np.ndarray) -> np.ndarray:
        scaled: np.ndarray = (values - self.mean) / self.deviation
        return scaled

    def _sized(self, predictor: Predictor, outputs: np.ndarray) -> np.ndarray:
        """Return quantities in the units of the data, as many as the candidate has outputs."""
        quantities = predictor.answers(outputs).reshape(len(outputs), -1)
        theirs, ours = tuple(predictor.description.get("quantiles", ())), self.head.quantiles
        if theirs == ours:
            return quantities
        if not ours:
            return points(quantities, theirs)
        if not theirs:
            return np.repeat(quantities, len(ours), axis=1)
        raise InputError("training.quantiles", f"the model predicts the quantiles {theirs}, not {ours}")

    def _as_trained(self, predictor: Predictor, outputs: np.ndarray) -> np.ndarray:
        description = predictor.description
        is_alike = tuple(description["classes"]) == self.classes and description["is_logits"] == self.head.is_logits
        if is_alike and (outputs.shape[1] == 1) == (self.head.kind == "two classes"):
            return outputs
        logs = log_probabilities(outputs, description["is_logits"])
        places = {label: number for number, label in enumerate(description["classes"])}
        lost = np.full(len(logs), np.log(CLIP))  # a label that the model does not know
        columns = [logs[:, places[label]] if label in places else lost for label in self.classes]
        return self._form(np.stack(columns, axis=1))

    def _form(self, logs: np.ndarray) -> np.ndarray:
        """Convert log-probabilities of the candidate's classes to outputs as its own are."""
        if self.head.kind == "two classes":
            logs = logs[:, 1:] - logs[:, :1] if self.head.is_logits else logs[:, 1:]
        converted: np.ndarray = logs if self.head.is_logits else np.exp(logs)
        return converted

    def _indices(self, labels: np.ndarray) -> np.ndarray:
        index = {label: number for number, label in enumerate(self.classes)}
        return np.array([index[label] for label in labels.tolist()])
