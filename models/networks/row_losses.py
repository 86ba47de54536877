"""What the promotion gate measures: a loss for each test row, of models, of their rivals and of a trivial guess."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nightune.models.data.dataset import Dataset, UnsealedExamples
from nightune.models.networks.heads import read_head
from nightune.models.networks.metrics import CLIP, log_probabilities, metrics
from nightune.models.serving.predictor import Predictor

# How far a row's prediction is off, by the study's objective: its mean over the rows is what the gate compares.
MEASURES = {
    "val_loss": {"regression": "squared error", "classes": "log loss"},
    "val_accuracy": {"classes": "error"},
    "val_balanced_accuracy": {"classes": "balanced error"},
    "val_f1_macro": {"classes": "balanced error"},  # F1 is no mean over rows
    "val_auc": {"classes": "log loss"},  # nor is the area under the curve
    "val_mae": {"regression": "absolute error"},
    "val_rmse": {"regression": "squared error"},
    "val_r2": {"regression": "squared error"},
}
LATENCY_CALLS = 20


def measure_of(objective: str, task: str) -> str:
    """The loss of a row that goes with an objective: "error" is 0 or 1, "balanced error" weighs classes alike."""
    return MEASURES[objective]["regression" if task == "regression" else "classes"]


@dataclass(frozen=True, eq=False)
class Truth:
    """What the test rows are: labels as the data has them, or quantities (rows, quantities) in the data's units."""

    values: np.ndarray
    is_regression: bool


def truth(dataset: Dataset, test: UnsealedExamples) -> Truth:
    """Take the test targets back to what they were in the data."""
    if dataset.task != "regression":
        return Truth(np.array(dataset.classes)[test.targets], False)
    scale = dataset.description.get("target_scale", {"mean": [0.0], "deviation": [1.0]})
    values = test.targets.astype(np.float64).reshape(len(test), -1)
    return Truth(values * np.array(scale["deviation"]) + np.array(scale["mean"]), True)


def is_logits(model: Any, dataset: Dataset) -> bool:
    """Whether a model's outputs are logits; what its own code decides is read from a few training rows."""
    return read_head(model, dataset.task, dataset.output_size, np.asarray(dataset.train.inputs[:2])).is_logits


def row_losses(predictor: Predictor, inputs: np.ndarray, truth: Truth, measure: str) -> np.ndarray:
    """The loss of each row, (rows,) float64; NaN where an output is not finite.

    A label that the model has never seen counts as an answer of probability 1e-7.
    """
    outputs = predictor.outputs(inputs)
    if truth.is_regression:
        values = predictor.answers(outputs).reshape(len(inputs), -1)
        return _quantity_losses(values, truth.values, measure)
    finite = np.isfinite(outputs).all(axis=1)
    readable = np.where(finite[:, None], outputs, 0.0).astype(np.float64)
    logs = log_probabilities(readable, predictor.description["is_logits"])
    own = {label: index for index, label in enumerate(predictor.description["classes"])}
    wanted = np.array([own.get(label, -1) for label in truth.values.tolist()])
    chosen = np.where(wanted >= 0, logs[np.arange(len(logs)), wanted], np.log(CLIP))
    return np.where(finite, _class_losses(chosen, logs.argmax(axis=1) != wanted, truth.values, measure), np.nan)


def trivial_losses(dataset: Dataset, truth: Truth, measure: str) -> np.ndarray:
    """The loss of each row for a guess that ignores the inputs: the training rows' classes, mean or median."""
    known = dataset.train.targets
    if truth.is_regression:
        middle = np.median if measure == "absolute error" else np.mean
        scale = dataset.description.get("target_scale", {"mean": [0.0], "deviation": [1.0]})
        guess = middle(known.astype(np.float64).reshape(len(known), -1), axis=0)
        guess = guess * np.array(scale["deviation"]) + np.array(scale["mean"])
        return _quantity_losses(np.broadcast_to(guess, truth.values.shape), truth.values, measure)
    classes = np.array(dataset.classes)
    shares = np.bincount(known, minlength=len(classes)) / len(known)
    index = {label: number for number, label in enumerate(classes.tolist())}
    wanted = np.array([index[label] for label in truth.values.tolist()])
    chosen = np.log(np.maximum(shares[wanted], CLIP))
    return _class_losses(chosen, wanted != shares.argmax(), truth.values, measure)


def all_metrics(predictor: Predictor, inputs: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Every metric of the task on the test rows, for people to read."""
    description = predictor.description
    return metrics(description["task"], predictor.outputs(inputs), targets, description["is_logits"])


def latency_ms(predictor: Predictor, raw: Any, clock: Callable[[], float] = time.perf_counter) -> float:
    """Milliseconds from one raw row to its answer, the median of some calls after a first that warms up."""
    row = raw.iloc[:1] if hasattr(raw, "iloc") else raw[:1]
    predictor.predict(row)
    taken = []
    for _ in range(LATENCY_CALLS):
        started_at = clock()
        predictor.predict(row)
        taken.append(clock() - started_at)
    return 1000 * float(np.median(taken))


def _quantity_losses(values: np.ndarray, wanted: np.ndarray, measure: str) -> np.ndarray:
    errors = np.abs(values - wanted)
    means: np.ndarray = np.mean(errors if measure == "absolute error" else errors**2, axis=1)
    return means


def _class_losses(logs: np.ndarray, is_wrong: np.ndarray, labels: np.ndarray, measure: str) -> np.ndarray:
    if measure == "log loss":
        return -logs
    if measure == "error":
        return is_wrong.astype(np.float64)
    _, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return is_wrong * (len(labels) / (len(counts) * counts[index]))
