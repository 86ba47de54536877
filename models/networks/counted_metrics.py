"""Metrics of a class at each position that are no mean over rows, as functions of weights of the rows: for resamples.

As in `weighted_metrics.py`, each returns 1 minus the metric, NaN where it is not defined.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from nightune.models.networks.weighted_metrics import Metric, Values, Weights, mean_intersection_over_union, ratio
from nightune.vocabulary import row_of


def counted_metric_loss(metric: str, predicted: np.ndarray, targets: np.ndarray, known: np.ndarray) -> Metric:
    """Return the loss of one model of a class at each position, as a function of weights of rows.

    All are (rows, positions): predicted and true classes from 0, and which positions have a class. A resample counts
    the positions of its rows: accuracy, balanced_accuracy, f1_macro or mean_iou.
    """
    share = row_of(COUNTED_METRICS, metric, "COUNTED_METRICS in models/networks/counted_metrics.py")
    classes = int(max(predicted.max(), targets.max())) + 1
    hits = _counts(targets, known & (predicted == targets), classes)
    true, guessed = (_counts(codes, known, classes) for codes in (targets, predicted))
    return partial(_counted, share, hits, true, guessed)


def _counted(share: Callable[..., Values], hits: Any, true: Any, guessed: Any, weights: Weights) -> Values:
    return 1.0 - share(weights @ hits, weights @ true, weights @ guessed)


def _counts(codes: np.ndarray, chosen: np.ndarray, classes: int) -> np.ndarray:
    """Return how many chosen positions of each row have each class, (rows, classes)."""
    rows, columns = np.nonzero(chosen)
    found = np.bincount(rows * classes + codes[rows, columns], minlength=len(codes) * classes)
    return found.reshape(len(codes), classes).astype(np.float64)


def _share_right(hits: np.ndarray, true: np.ndarray, _guessed: np.ndarray) -> Values:
    return ratio(hits.sum(axis=1), true.sum(axis=1))


def _mean_recall(hits: np.ndarray, true: np.ndarray, _guessed: np.ndarray) -> Values:
    occurring = true > 0
    return ratio((hits / np.where(occurring, true, 1.0)).sum(axis=1), occurring.sum(axis=1))


def _mean_f1(hits: np.ndarray, true: np.ndarray, guessed: np.ndarray) -> Values:
    occurring = true + guessed > 0
    return ratio((2.0 * hits / np.where(occurring, true + guessed, 1.0)).sum(axis=1), occurring.sum(axis=1))


def _mean_overlap(hits: np.ndarray, true: np.ndarray, guessed: np.ndarray) -> Values:
    return mean_intersection_over_union(hits, true + guessed)


COUNTED_METRICS: dict[str, Callable[..., Values]] = {
    "accuracy": _share_right,
    "balanced_accuracy": _mean_recall,
    "f1_macro": _mean_f1,
    "mean_iou": _mean_overlap,
}
