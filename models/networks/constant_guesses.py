"""The best constant predictions of training rows, by their weights if the test rows are compared by weights."""

import numpy as np


def mean_of(values: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Return the mean over the rows, (columns,) float64."""
    if weights is None:
        return np.asarray(values.mean(axis=0, dtype=np.float64))
    return np.asarray(np.average(values.astype(np.float64), axis=0, weights=weights.astype(np.float64)))


def median_of(values: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Return the median over the rows, (columns,)."""
    return np.asarray(np.median(values, axis=0)) if weights is None else quantiles_of(values, 0.5, weights)


def quantiles_of(values: np.ndarray, levels: float | np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Return quantiles over the rows, levels first; with weights they are values of rows."""
    if weights is None:
        return np.asarray(np.quantile(values, levels, axis=0))
    return np.asarray(np.quantile(values, levels, axis=0, weights=weights.astype(np.float64), method="inverted_cdf"))


def class_shares(targets: np.ndarray, count: int, weights: np.ndarray | None) -> np.ndarray:
    """Return the share of each class, (count,) float64."""
    if weights is None:
        return np.bincount(targets, minlength=count) / len(targets)
    return np.asarray(np.bincount(targets, weights=weights, minlength=count) / weights.sum(dtype=np.float64))
