"""Metrics that are no mean over rows, as functions of weights of the rows: for the promotion gate's resamples.

Each returns a loss, lower is better: 1 minus the metric where that is maximized. With equal weights it is the metric of
`metrics.py`. To add a metric, write its function and a row in `METRICS`, or in `LABEL_METRICS` for the task multilabel.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nightune.vocabulary import OBJECTIVES, VALIDATION_PREFIX, row_of

if TYPE_CHECKING:
    from scipy import sparse

Weights = npt.NDArray[np.float64]  # (resamples, rows), from 0; real numbers
Values = npt.NDArray[np.float64]  # (resamples,); NaN where the metric is not defined
Metric = Callable[[Weights], Values]

ROUNDING = 1e-12  # a variance of shares that is not above it is zero


def metric_loss(metric: str, answers: np.ndarray, targets: np.ndarray) -> Metric:
    """Return the loss of one model as a function of weights.

    Answers and targets are (rows,) classes from 0, (rows, quantities), or for areas under a curve scores and classes:
    (rows,) of the second of two, or (rows, classes). What weights do not change, such as an order of rows, is computed
    once.
    """
    return row_of(METRICS, metric, "METRICS in models/networks/weighted_metrics.py")(answers, targets)


def label_metric_loss(metric: str, scores: np.ndarray, targets: np.ndarray) -> Metric:
    """Return the loss of one model of several labels as a function of weights.

    Scores are (rows, labels), above 0 where the label is predicted; targets are 0 and 1 of the same shape.
    """
    return row_of(LABEL_METRICS, metric, "LABEL_METRICS in models/networks/weighted_metrics.py")(scores, targets)


def is_row_mean(objective: str) -> bool:
    """Return whether an objective is a mean over rows; a user's metric need not be one."""
    return objective in OBJECTIVES and objective.removeprefix(VALIDATION_PREFIX) not in {**METRICS, **LABEL_METRICS}


def cost_of(objective: str, columns: int) -> int:
    """Return how costly a metric is, in areas under the curve of two classes; `columns` are classes or quantities."""
    metric = objective.removeprefix(VALIDATION_PREFIX)
    return COSTS.get(metric, 1) * (columns if metric in ("auc", "pr_auc", "spearman") and columns > 2 else 1)


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
        return 1.0 - ratio(won, chosen.sum(axis=1) * below[:, -1])

    return loss


def _balanced_accuracy(predicted: np.ndarray, targets: np.ndarray) -> Metric:
    """The mean recall over the classes among the targets."""
    hits, sums = _one_hot(targets, predicted == targets), _one_hot(targets)

    def loss(weights: Weights) -> Values:
        right, total = weights @ hits, weights @ sums
        occurring = total > 0
        return 1.0 - ratio((right / np.where(occurring, total, 1.0)).sum(axis=1), occurring.sum(axis=1))

    return loss


def _f1_macro(predicted: np.ndarray, targets: np.ndarray) -> Metric:
    """The mean F1 over the classes among targets or predictions."""
    classes = int(max(predicted.max(), targets.max())) + 1
    hits = _one_hot(targets, predicted == targets, classes)
    sums = _one_hot(targets, classes=classes) + _one_hot(predicted, classes=classes)

    def loss(weights: Weights) -> Values:
        right, total = weights @ hits, weights @ sums
        occurring = total > 0
        return 1.0 - ratio((2.0 * right / np.where(occurring, total, 1.0)).sum(axis=1), occurring.sum(axis=1))

    return loss


def _mean_intersection_over_union(predicted: np.ndarray, targets: np.ndarray) -> Metric:
    """The mean over the classes among targets or predictions of their intersection, divided by their union."""
    classes = int(max(predicted.max(), targets.max())) + 1
    hits = _one_hot(targets, predicted == targets, classes)
    sums = _one_hot(targets, classes=classes) + _one_hot(predicted, classes=classes)

    def loss(weights: Weights) -> Values:
        return 1.0 - mean_intersection_over_union(weights @ hits, weights @ sums)

    return loss


def mean_intersection_over_union(hits: Values, sums: Values) -> Values:
    """Return the mean over classes, (resamples,), from the weights of hits and of targets plus predictions of each."""
    unions = sums - hits
    occurring = sums > 0
    return ratio((hits / np.where(occurring, unions, 1.0)).sum(axis=1), occurring.sum(axis=1))


def _root_mean_squared_error(values: np.ndarray, targets: np.ndarray) -> Metric:
    squares = np.mean((values - targets) ** 2, axis=1)

    def loss(weights: Weights) -> Values:
        return np.sqrt(ratio(weights @ squares, weights.sum(axis=1)))

    return loss


def _mean_of_roots(values: np.ndarray, targets: np.ndarray) -> Metric:
    """The root mean squared error of each quantity, averaged over them."""
    squares = (values - targets) ** 2

    def loss(weights: Weights) -> Values:
        means: Values = np.sqrt(ratio(weights @ squares, weights.sum(axis=1, keepdims=True))).mean(axis=1)
        return means

    return loss


def _unexplained_variance(values: np.ndarray, targets: np.ndarray) -> Metric:
    """1 minus R², averaged over quantities; NaN for constant targets."""
    squares, centred = (values - targets) ** 2, targets - targets.mean(axis=0)
    is_constant = (targets == targets[:1]).all(axis=0)

    def loss(weights: Weights) -> Values:
        total = weights.sum(axis=1, keepdims=True)
        around = weights @ centred**2 - (weights @ centred) ** 2 / np.where(total > 0, total, 1.0)
        shares: Values = ratio(weights @ squares, np.where(is_constant, 0.0, around)).mean(axis=1)
        return shares

    return loss


def _average_precision(scores: np.ndarray, targets: np.ndarray) -> Metric:
    """Sum over the second class: the precision among the rows that score as much or more, by weight."""
    order = np.argsort(-scores, kind="stable")
    descending, is_positive = -scores[order], targets[order] == 1
    positives = np.flatnonzero(is_positive)
    last = np.searchsorted(descending, descending[positives], side="right") - 1  # of the rows with the same score

    def loss(weights: Weights) -> Values:
        ordered = weights[:, order]
        total = np.cumsum(ordered, axis=1)[:, last]
        chosen = ordered[:, positives]
        hits = np.cumsum(np.where(is_positive, ordered, 0.0), axis=1)[:, last]
        precision = hits / np.where(total > 0, total, 1.0)
        return 1.0 - ratio((chosen * precision).sum(axis=1), chosen.sum(axis=1))

    return loss


def _matthews_correlation(predicted: np.ndarray, targets: np.ndarray) -> Metric:
    """The correlation of predicted and true classes (Gorodkin, 2004); 0 if one of them is constant."""
    classes = int(max(predicted.max(), targets.max())) + 1
    guesses, truths = _one_hot(predicted, classes=classes), _one_hot(targets, classes=classes)
    is_right = (predicted == targets).astype(np.float64)

    def loss(weights: Weights) -> Values:
        total = weights.sum(axis=1, keepdims=True)
        scale = np.where(total > 0, total, 1.0)
        guessed, true, right = weights @ guesses / scale, weights @ truths / scale, weights @ is_right / scale[:, 0]
        variances = np.stack([1.0 - (guessed**2).sum(axis=1), 1.0 - (true**2).sum(axis=1)])
        varies = (variances > ROUNDING).all(axis=0)
        covariance = right - (guessed * true).sum(axis=1)
        correlation = covariance / np.sqrt(np.where(varies, variances.prod(axis=0), 1.0))
        return np.where(total[:, 0] > 0, 1.0 - np.where(varies, correlation, 0.0), np.nan)

    return loss


def _rank_correlation(values: np.ndarray, targets: np.ndarray) -> Metric:
    """1 minus Spearman's correlation, averaged over quantities; 1 for constant answers, NaN for constant targets."""
    ranks = [(_ranks(column), _ranks(wanted)) for column, wanted in zip(values.T, targets.T, strict=True)]

    def of_one(own: Metric, wanted: Metric, weights: Weights) -> Values:
        ours, theirs = own(weights), wanted(weights)
        weighted = weights * ours
        variance, covariance = np.einsum("rn,rn->r", weighted, ours), np.einsum("rn,rn->r", weighted, theirs)
        needed = np.einsum("rn,rn->r", weights * theirs, theirs)
        both = variance * needed
        correlation = covariance / np.sqrt(np.where(both > 0, both, 1.0))  # 0 where the answers are constant
        return np.where(needed > 0, 1.0 - correlation, np.nan)

    def loss(weights: Weights) -> Values:
        means: Values = np.mean([of_one(own, wanted, weights) for own, wanted in ranks], axis=0)
        return means

    return loss


def _ranks(values: np.ndarray) -> Metric:
    """Return the ranks of rows as a function of weights, minus their mean, (resamples, rows); equal values share one.

    A row of weight 2 counts as two rows.
    """
    order = np.argsort(values, kind="stable")
    below = np.searchsorted(values[order], values, side="left")
    not_above = np.searchsorted(values[order], values, side="right")

    def ranks(weights: Weights) -> Values:
        sums = np.zeros((len(weights), len(order) + 1))
        np.cumsum(weights[:, order], axis=1, out=sums[:, 1:])
        centred: Values = (sums[:, below] + sums[:, not_above] - sums[:, -1:]) / 2
        return centred

    return ranks


def _of_classes(measure: Callable[[np.ndarray, np.ndarray], Metric], scores: np.ndarray, targets: np.ndarray) -> Metric:
    """Measure the second of two classes, or each of several against the rest: the mean over those that occur."""
    if scores.ndim == 1:
        return measure(scores, targets)
    return _mean_over_labels(measure, scores, targets[:, None] == np.arange(scores.shape[1]))


def _mean_over_labels(
    measure: Callable[[np.ndarray, np.ndarray], Metric], scores: np.ndarray, targets: np.ndarray
) -> Metric:
    """The mean over the labels that have a value for the weighted rows: some have the label, others lack it."""
    losses = [measure(column, labels) for column, labels in zip(scores.T, targets.T, strict=True)]

    def loss(weights: Weights) -> Values:
        values = np.stack([each(weights) for each in losses])
        is_known = ~np.isnan(values)
        return ratio(np.where(is_known, values, 0.0).sum(axis=0), is_known.sum(axis=0))

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
    "auc": partial(_of_classes, _area_under_curve),
    "balanced_accuracy": _balanced_accuracy,
    "f1_macro": _f1_macro,
    "mcc": _matthews_correlation,
    "mean_iou": _mean_intersection_over_union,
    "pr_auc": partial(_of_classes, _average_precision),
    "rmse": _root_mean_squared_error,
    "rmse_original": _mean_of_roots,
    "r2": _unexplained_variance,
    "spearman": _rank_correlation,
}
LABEL_METRICS: dict[str, Callable[[np.ndarray, np.ndarray], Metric]] = {
    "auc": partial(_mean_over_labels, _area_under_curve),
    "f1_macro": partial(_label_f1, is_micro=False),
    "f1_micro": partial(_label_f1, is_micro=True),
    "pr_auc": partial(_mean_over_labels, _average_precision),
}

COSTS = {"pr_auc": 2, "spearman": 3}


def _one_hot(codes: np.ndarray, chosen: np.ndarray | None = None, classes: int | None = None) -> "sparse.csr_array":
    """Return (rows, classes) with a 1 at the class of each row, or of the chosen ones."""
    from scipy import sparse  # noqa: PLC0415 - commands that measure nothing start without SciPy

    rows = np.arange(len(codes)) if chosen is None else np.flatnonzero(chosen)
    shape = (len(codes), int(codes.max()) + 1 if classes is None else classes)
    return sparse.csr_array((np.ones(len(rows)), (rows, codes[rows])), shape=shape)


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> Values:
    """Return the ratio, NaN where the denominator is not above zero."""
    is_positive = denominator > 0
    ratio: Values = np.where(is_positive, numerator / np.where(is_positive, denominator, 1.0), np.nan)
    return ratio
