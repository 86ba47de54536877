"""Metrics that are no mean over rows, as functions of weights of the rows: for the promotion gate's resamples.

Each returns a loss, lower is better: 1 minus the metric where that is maximized. With equal weights it is the metric of
`metrics.py`. To add a metric, write its function and a row in `METRICS`, or in `LABEL_METRICS` for the task multilabel.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
from scipy import sparse

from nightune.vocabulary import VALIDATION_PREFIX, row_of

Weights = npt.NDArray[np.float64]  # (resamples, rows), from 0; real numbers
Values = npt.NDArray[np.float64]  # (resamples,); NaN where the metric is not defined
Metric = Callable[[Weights], Values]


def metric_loss(metric: str, answers: np.ndarray, targets: np.ndarray) -> Metric:
    """Return the loss of one model as a function of weights.

    Answers and targets are (rows,) classes from 0, (rows, quantities), or for the area under the curve scores and 0 or
    1. What weights do not change, such as an order of rows, is computed once.
    """
    return row_of(METRICS, metric, "METRICS in models/networks/weighted_metrics.py")(answers, targets)


def label_metric_loss(metric: str, scores: np.ndarray, targets: np.ndarray) -> Metric:
    """Return the loss of one model of several labels as a function of weights.

    Scores are (rows, labels), above 0 where the label is predicted; targets are 0 and 1 of the same shape.
    """
    return row_of(LABEL_METRICS, metric, "LABEL_METRICS in models/networks/weighted_metrics.py")(scores, targets)


def is_row_mean(objective: str) -> bool:
    """Return whether an objective is a mean over rows."""
    return objective.removeprefix(VALIDATION_PREFIX) not in {**METRICS, **LABEL_METRICS}


def _area_under_curve(scores: np.ndarray, targets: np.ndarray) -> Metric:
    """Sum over the second class: the weight of the first class that scores lower, and half of what scores the same."""
    positives, negatives = np.flatnonzero(targets == 1), np.flatnonzero(targets != 1)
    negatives = negatives[np.argsort(scores[negatives], kind="stable")]
    lower = np.searchsorted(scores[negatives], scores[positives], side="left")
    not_above = np.searchsorted(scores[negatives], scores[positives], side="right")

    def loss(weights: Weights) -> Values:
        below = np.zeros((len(weights), len(negatives) + 1))
        np.cumsum(weights[:, negatives], axis=1, out=below[:, 1:])
        chosen = weights[:, positives]
        won = np.einsum("rp,rp->r", chosen, below[:, lower] + below[:, not_above]) / 2
        return 1.0 - _ratio(won, chosen.sum(axis=1) * below[:, -1])

    return loss


def _balanced_accuracy(predicted: np.ndarray, targets: np.ndarray) -> Metric:
    """The mean recall over the classes among the targets."""
    hits, sums = _one_hot(targets, predicted == targets), _one_hot(targets)

    def loss(weights: Weights) -> Values:
        right, total = weights @ hits, weights @ sums
        occurring = total > 0
        return 1.0 - _ratio((right / np.where(occurring, total, 1.0)).sum(axis=1), occurring.sum(axis=1))

    return loss


def _f1_macro(predicted: np.ndarray, targets: np.ndarray) -> Metric:
    """The mean F1 over the classes among targets or predictions."""
    classes = int(max(predicted.max(), targets.max())) + 1
    hits = _one_hot(targets, predicted == targets, classes)
    sums = _one_hot(targets, classes=classes) + _one_hot(predicted, classes=classes)

    def loss(weights: Weights) -> Values:
        right, total = weights @ hits, weights @ sums
        occurring = total > 0
        return 1.0 - _ratio((2.0 * right / np.where(occurring, total, 1.0)).sum(axis=1), occurring.sum(axis=1))

    return loss


def _root_mean_squared_error(values: np.ndarray, targets: np.ndarray) -> Metric:
    squares = np.mean((values - targets) ** 2, axis=1)

    def loss(weights: Weights) -> Values:
        return np.sqrt(_ratio(weights @ squares, weights.sum(axis=1)))

    return loss


def _unexplained_variance(values: np.ndarray, targets: np.ndarray) -> Metric:
    """1 minus R², averaged over quantities; NaN for constant targets."""
    squares, centred = (values - targets) ** 2, targets - targets.mean(axis=0)
    is_constant = (targets == targets[:1]).all(axis=0)

    def loss(weights: Weights) -> Values:
        total = weights.sum(axis=1, keepdims=True)
        around = weights @ centred**2 - (weights @ centred) ** 2 / np.where(total > 0, total, 1.0)
        shares: Values = _ratio(weights @ squares, np.where(is_constant, 0.0, around)).mean(axis=1)
        return shares

    return loss


def _area_over_labels(scores: np.ndarray, targets: np.ndarray) -> Metric:
    """The mean area under the curve over the labels that some of the weighted rows have and others lack."""
    losses = [_area_under_curve(column, labels) for column, labels in zip(scores.T, targets.T, strict=True)]

    def loss(weights: Weights) -> Values:
        values = np.stack([each(weights) for each in losses])
        is_known = ~np.isnan(values)
        return _ratio(np.where(is_known, values, 0.0).sum(axis=0), is_known.sum(axis=0))

    return loss


def _label_f1(scores: np.ndarray, targets: np.ndarray, is_micro: bool) -> Metric:
    """The F1 over all labels, or the mean of the labels' own; 0 for a label that is neither true nor predicted."""
    predicted, true = scores > 0, targets == 1
    hits, counts = (predicted & true).astype(np.float64), predicted.astype(np.float64) + true

    def loss(weights: Weights) -> Values:
        right, total = weights @ hits, weights @ counts
        if is_micro:
            right, total = (each.sum(axis=1, keepdims=True) for each in (right, total))
        shares: Values = (2.0 * right / np.where(total > 0, total, 1.0)).mean(axis=1)
        return 1.0 - shares

    return loss


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], Metric]] = {
    "auc": _area_under_curve,
    "balanced_accuracy": _balanced_accuracy,
    "f1_macro": _f1_macro,
    "rmse": _root_mean_squared_error,
    "r2": _unexplained_variance,
}
LABEL_METRICS: dict[str, Callable[[np.ndarray, np.ndarray], Metric]] = {
    "auc": _area_over_labels,
    "f1_macro": partial(_label_f1, is_micro=False),
    "f1_micro": partial(_label_f1, is_micro=True),
}


def _one_hot(codes: np.ndarray, chosen: np.ndarray | None = None, classes: int | None = None) -> sparse.csr_array:
    """Return (rows, classes) with a 1 at the class of each row, or of the chosen ones."""
    rows = np.arange(len(codes)) if chosen is None else np.flatnonzero(chosen)
    shape = (len(codes), int(codes.max()) + 1 if classes is None else classes)
    return sparse.csr_array((np.ones(len(rows)), (rows, codes[rows])), shape=shape)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> Values:
    """Return the ratio, NaN where the denominator is not above zero."""
    is_positive = denominator > 0
    ratio: Values = np.where(is_positive, numerator / np.where(is_positive, denominator, 1.0), np.nan)
    return ratio
