"""Metrics of a model's outputs: without penalties, in float64, with the same code for every engine and backend.

Names have no prefix `val_`. If any output is NaN or infinite, every metric is NaN: otherwise accuracy would be finite
and the trial would be ranked.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from nightune.vocabulary import TASK_METRICS, refuse_unknown_task

Array = npt.NDArray[np.float64]

CLIP = 1e-7  # Keras' epsilon: the minimum distance of probabilities from 0 and 1


def metrics(task: str, outputs: np.ndarray, targets: np.ndarray, is_logits: bool) -> dict[str, float]:
    """Return every metric of the task. `outputs` is (examples, size); two classes may have one output or two.

    `loss` is the mean negative log-likelihood, for several labels also averaged over them, or for regression the
    squared error, also averaged over outputs. `auc` is NaN if the targets contain only one class; of several labels it
    is the mean over those that some rows have and others lack.
    """
    refuse_unknown_task(task)
    if not np.isfinite(outputs).all():
        return dict.fromkeys(TASK_METRICS[task], float("nan"))
    outputs = outputs.astype(np.float64).reshape(len(outputs), -1)
    if task == "regression":
        return _regression(outputs, targets.astype(np.float64).reshape(outputs.shape))
    if task == "multilabel":
        return _multilabel(outputs, targets.astype(np.int64).reshape(outputs.shape), is_logits)
    return _classification(task, log_probabilities(outputs, is_logits), targets.astype(np.int64).reshape(-1))


def points(values: np.ndarray, quantiles: tuple[float, ...], level: float = 0.5) -> np.ndarray:
    """Return the point predictions among quantities: all, or of quantiles the one nearest to a level, the median."""
    if not quantiles:
        return values
    nearest = int(np.argmin(np.abs(np.array(quantiles) - level)))
    return values[:, nearest : nearest + 1]


def _regression(outputs: Array, targets: Array) -> dict[str, float]:
    errors = outputs - targets
    squared_error = float(np.mean(errors**2))
    return {
        "loss": squared_error,
        "mae": float(np.mean(np.abs(errors))),
        "rmse": float(np.sqrt(squared_error)),
        "r2": _explained_variance(errors, targets),
    }


def _explained_variance(errors: Array, targets: Array) -> float:
    """R², averaged over outputs; for a constant target 1 if predicted exactly, otherwise 0, as in scikit-learn."""
    residual = np.sum(errors**2, axis=0)
    total = np.sum((targets - targets.mean(axis=0)) ** 2, axis=0)
    is_constant = total == 0.0
    scores = np.where(is_constant, residual == 0.0, 1.0 - residual / np.where(is_constant, 1.0, total))
    return float(np.mean(scores))


def _classification(task: str, log_probabilities: Array, targets: npt.NDArray[np.int64]) -> dict[str, float]:
    classes = log_probabilities.shape[1]
    # Ties are resolved to the lower class: of two classes, the second needs a probability above one half.
    predicted = log_probabilities.argmax(axis=1)
    confusion = np.bincount(targets * classes + predicted, minlength=classes * classes).reshape(classes, classes)
    values = {
        "loss": float(-np.mean(log_probabilities[np.arange(len(targets)), targets])),
        "accuracy": float(np.count_nonzero(predicted == targets) / len(targets)),
        "balanced_accuracy": _balanced_accuracy(confusion),
        "f1_macro": _f1_macro(confusion),
    }
    if task == "binary":
        values["auc"] = _area_under_curve(log_probabilities[:, 1] - log_probabilities[:, 0], targets)
    return values


def _multilabel(outputs: Array, targets: npt.NDArray[np.int64], is_logits: bool) -> dict[str, float]:
    """Return the metrics of labels that are independent of each other, as scikit-learn defines them.

    `accuracy` counts the rows whose labels are all right, `label_accuracy` is 1 minus the Hamming loss, and the F1 of
    a label that is neither true nor predicted anywhere is 0.
    """
    predicted = outputs > (0.0 if is_logits else 0.5)
    is_right = predicted == (targets == 1)
    hits = np.sum(predicted & (targets == 1), axis=0)
    counts = predicted.sum(axis=0) + targets.sum(axis=0)
    areas = [_area_under_curve(scores, labels) for scores, labels in zip(outputs.T, targets.T, strict=True)]
    known = [area for area in areas if not np.isnan(area)]
    return {
        "loss": float(np.mean(label_losses(outputs, targets, is_logits))),
        "accuracy": float(np.mean(is_right.all(axis=1))),
        "label_accuracy": float(np.mean(is_right)),
        "f1_macro": float(np.mean(2.0 * hits / np.maximum(counts, 1))),
        "f1_micro": float(2.0 * hits.sum() / max(int(counts.sum()), 1)),
        "auc": float(np.mean(known)) if known else float("nan"),
    }


def label_losses(outputs: Array, targets: np.ndarray, is_logits: bool) -> Array:
    """Return the binary cross-entropy of each label, (examples, labels); `targets` are 0 and 1 of the same shape."""
    convert = _of_one_logit if is_logits else _of_one_probability
    logs = convert(outputs.reshape(-1, 1))
    chosen = logs[np.arange(len(logs)), targets.astype(np.int64).reshape(-1)]
    return -chosen.reshape(outputs.shape)


def log_probabilities(outputs: Array, is_logits: bool) -> Array:
    """Return log p of each class, (examples, classes); one output represents two classes."""
    convert: Callable[[Array], Array]
    if outputs.shape[1] == 1:
        convert = _of_one_logit if is_logits else _of_one_probability
    else:
        convert = _of_logits if is_logits else _of_probabilities
    return convert(outputs)


def _of_one_logit(outputs: Array) -> Array:
    return np.concatenate([-np.logaddexp(0.0, outputs), -np.logaddexp(0.0, -outputs)], axis=1)


def _of_one_probability(outputs: Array) -> Array:
    clipped = np.clip(outputs, CLIP, 1.0 - CLIP)
    logs: Array = np.log(np.concatenate([1.0 - clipped, clipped], axis=1))
    return logs


def _of_logits(outputs: Array) -> Array:
    shifted: Array = outputs - outputs.max(axis=1, keepdims=True)
    normalized: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return normalized


def _of_probabilities(outputs: Array) -> Array:
    total = outputs.sum(axis=1, keepdims=True)
    clipped: Array = np.clip(outputs / np.where(total > 0.0, total, 1.0), CLIP, 1.0 - CLIP)
    return np.log(clipped)


def _balanced_accuracy(confusion: npt.NDArray[np.int64]) -> float:
    """The mean recall over the classes among the targets."""
    totals = confusion.sum(axis=1)
    occurring = totals > 0
    return float(np.mean(confusion.diagonal()[occurring] / totals[occurring]))


def _f1_macro(confusion: npt.NDArray[np.int64]) -> float:
    """The mean F1 over the classes among targets or predictions."""
    total = confusion.sum(axis=0) + confusion.sum(axis=1)
    return float(np.mean(2.0 * confusion.diagonal()[total > 0] / total[total > 0]))


def _area_under_curve(scores: Array, targets: npt.NDArray[np.int64]) -> float:
    """The probability that an example of the second class scores above one of the first, with ties as one half."""
    positives = int(np.sum(targets == 1))
    negatives = len(targets) - positives
    if positives == 0 or negatives == 0:
        return float("nan")
    _, group, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2.0)[group]  # the mean rank of equal scores, from 1
    return float((ranks[targets == 1].sum() - positives * (positives + 1) / 2.0) / (positives * negatives))
