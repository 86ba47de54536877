"""Metrics of a model's outputs where rows have weights: means by the sum of weights, as scikit-learn's `sample_weight`.

With equal weights they are those of `metrics.py`, up to rounding.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from nightune.models.networks.metrics import label_losses, log_probabilities
from nightune.models.networks.weighted_metrics import label_metric_loss, metric_loss
from nightune.vocabulary import TASK_METRICS, refuse_unknown_task

Array = npt.NDArray[np.float64]


def metrics_by_weight(
    task: str, outputs: np.ndarray, targets: np.ndarray, is_logits: bool, weights: np.ndarray
) -> dict[str, float]:
    """Return every metric of the task; `weights` are (examples,) from 0.

    NaN where an output is not finite, or where no row has a weight.
    """
    refuse_unknown_task(task)
    rows = weights.astype(np.float64)
    if not np.isfinite(outputs).all() or not rows.any():
        return dict.fromkeys(TASK_METRICS[task], float("nan"))
    outputs = outputs.astype(np.float64).reshape(len(outputs), -1)
    if task == "regression":
        return _regression(outputs, targets.astype(np.float64).reshape(outputs.shape), rows)
    if task == "multilabel":
        return _multilabel(outputs, targets.astype(np.int64).reshape(outputs.shape), is_logits, rows)
    return _classification(task, log_probabilities(outputs, is_logits), targets.astype(np.int64).reshape(-1), rows)


def mean_by_weight(values: np.ndarray, weights: np.ndarray | None) -> float:
    """Return the mean over the rows and the other axes: by the sum of weights, or of rows without weights.

    NaN where no row has a weight.
    """
    by_row = values.reshape(len(values), -1).mean(axis=1, dtype=np.float64)
    if weights is None:
        return float(np.mean(values))
    total = float(weights.sum(dtype=np.float64))
    return float(by_row @ weights.astype(np.float64)) / total if total > 0 else float("nan")


def _regression(outputs: Array, targets: Array, weights: Array) -> dict[str, float]:
    errors = outputs - targets
    squared_error = mean_by_weight(errors**2, weights)
    return {
        "loss": squared_error,
        "mae": mean_by_weight(np.abs(errors), weights),
        "rmse": float(np.sqrt(squared_error)),
        "r2": _explained_variance(errors, targets, weights),
    }


def _explained_variance(errors: Array, targets: Array, weights: Array) -> float:
    """R², averaged over outputs; for a constant target 1 if predicted exactly, otherwise 0."""
    known = weights > 0
    errors, targets, weights = errors[known], targets[known], weights[known]
    residual = weights @ errors**2
    total = weights @ (targets - np.average(targets, axis=0, weights=weights)) ** 2
    is_constant = (targets == targets[:1]).all(axis=0)
    scores = np.where(is_constant, residual == 0.0, 1.0 - residual / np.where(is_constant, 1.0, total))
    return float(np.mean(scores))


def _classification(
    task: str, log_probabilities: Array, targets: npt.NDArray[np.int64], weights: Array
) -> dict[str, float]:
    predicted = log_probabilities.argmax(axis=1)
    values = {
        "loss": -mean_by_weight(log_probabilities[np.arange(len(targets)), targets], weights),
        "accuracy": mean_by_weight(predicted == targets, weights),
        "balanced_accuracy": _value(metric_loss("balanced_accuracy", predicted, targets), weights),
        "f1_macro": _value(metric_loss("f1_macro", predicted, targets), weights),
    }
    if task == "binary":
        scores = log_probabilities[:, 1] - log_probabilities[:, 0]
        values["auc"] = _value(metric_loss("auc", scores, targets), weights)
    return values


def _multilabel(outputs: Array, targets: npt.NDArray[np.int64], is_logits: bool, weights: Array) -> dict[str, float]:
    scores = outputs - (0.0 if is_logits else 0.5)
    is_right = (scores > 0) == (targets == 1)
    return {
        "loss": mean_by_weight(label_losses(outputs, targets, is_logits), weights),
        "accuracy": mean_by_weight(is_right.all(axis=1), weights),
        "label_accuracy": mean_by_weight(is_right, weights),
        **{name: _value(label_metric_loss(name, scores, targets), weights) for name in ("f1_macro", "f1_micro", "auc")},
    }


def _value(loss: Callable[[Array], Array], weights: Array) -> float:
    """Return the value of a metric that is maximized."""
    return 1.0 - float(loss(weights[None])[0])
