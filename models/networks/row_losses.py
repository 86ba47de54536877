"""Losses of single test rows for the promotion gate: of models and of the baseline."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nightune.models.data.dataset import Dataset, UnsealedExamples
from nightune.models.networks.heads import read_head
from nightune.models.networks.metrics import CLIP, log_probabilities, metrics
from nightune.models.serving.predictor import Predictor, in_units
from nightune.vocabulary import row_of

# objective → the loss of a row, by task; the gate compares its mean over the rows, or the metric itself where
# `weighted_metrics.py` has it: then the loss only shows whether outputs are finite
MEASURES = {
    "val_loss": {"regression": "squared error", "classes": "log loss"},
    "val_accuracy": {"classes": "error"},
    "val_balanced_accuracy": {"classes": "balanced error"},
    "val_f1_macro": {"classes": "balanced error"},
    "val_auc": {"classes": "log loss"},
    "val_mae": {"regression": "absolute error"},
    "val_rmse": {"regression": "squared error"},
    "val_r2": {"regression": "squared error"},
}
LATENCY_CALLS = 20


def measure_of(objective: str, task: str) -> str:
    """Return the loss of a row for an objective: "error" is 0 or 1, "balanced error" weights classes equally."""
    by_task = row_of(MEASURES, objective, "MEASURES in models/networks/row_losses.py")
    kind = "regression" if task == "regression" else "classes"
    return row_of(by_task, kind, f"{objective} of MEASURES in models/networks/row_losses.py")


@dataclass(frozen=True, eq=False)
class Truth:
    """The true values of the test rows: labels, or quantities (rows, quantities) in the units of the data."""

    values: np.ndarray
    is_regression: bool


def truth(dataset: Dataset, test: UnsealedExamples) -> Truth:
    """Convert the test targets back to labels or units of the data."""
    if dataset.task != "regression":
        return Truth(np.array(dataset.classes)[test.targets], False)
    return Truth(in_units(test.targets.reshape(len(test), -1), dataset.description), True)


def is_logits(model: Any, dataset: Dataset) -> bool:
    """Return whether a model's outputs are logits, if necessary determined from a few training rows."""
    return read_head(model, dataset.task, dataset.output_size, np.asarray(dataset.train.inputs[:2])).is_logits


def row_losses(predictor: Predictor, inputs: np.ndarray, truth: Truth, measure: str) -> np.ndarray:
    """Return the loss of each row, (rows,) float64; NaN if an output is not finite.

    A label that is unknown to the model has the probability 1e-7.
    """
    return losses_of_outputs(predictor, predictor.outputs(inputs), truth, measure)


def losses_of_outputs(predictor: Predictor, outputs: np.ndarray, truth: Truth, measure: str) -> np.ndarray:
    """Return the loss of each row, as `row_losses`, from outputs of shape (rows, size)."""
    finite = np.isfinite(outputs).all(axis=1)
    if truth.is_regression:
        values = predictor.answers(np.where(finite[:, None], outputs, 0.0)).reshape(len(outputs), -1)
        return np.where(finite, _quantity_losses(values, truth.values, measure), np.nan)
    readable = np.where(finite[:, None], outputs, 0.0).astype(np.float64)
    logs = log_probabilities(readable, predictor.description["is_logits"])
    own = {label: index for index, label in enumerate(predictor.description["classes"])}
    wanted = np.array([own.get(label, -1) for label in truth.values.tolist()])
    chosen = np.where(wanted >= 0, logs[np.arange(len(logs)), wanted], np.log(CLIP))
    return np.where(finite, _class_losses(chosen, logs.argmax(axis=1) != wanted, truth.values, measure), np.nan)


def trivial_losses(dataset: Dataset, truth: Truth, measure: str) -> np.ndarray:
    """Return the loss of each row of the baseline: the class shares, mean or median of the training rows."""
    known = dataset.train.targets
    if truth.is_regression:
        middle = np.median if measure == "absolute error" else np.mean
        guess = in_units(middle(known.astype(np.float64).reshape(len(known), -1), axis=0), dataset.description)
        return _quantity_losses(np.broadcast_to(guess, truth.values.shape), truth.values, measure)
    classes = np.array(dataset.classes)
    shares = np.bincount(known, minlength=len(classes)) / len(known)
    index = {label: number for number, label in enumerate(classes.tolist())}
    wanted = np.array([index[label] for label in truth.values.tolist()])
    chosen = np.log(np.maximum(shares[wanted], CLIP))
    return _class_losses(chosen, wanted != shares.argmax(), truth.values, measure)


def all_metrics(predictor: Predictor, inputs: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Return every metric of the task on the test rows, for reports."""
    description = predictor.description
    return metrics(description["task"], predictor.outputs(inputs), targets, description["is_logits"])


def latency_ms(predictor: Predictor, raw: Any, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the milliseconds from one raw row to its prediction: the median of 20 calls after a warm-up."""
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
