"""Brier scores and ranks of classes, relative errors and pinball losses: per row, for training and for the gate."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from nightune.models.serving.probabilities import decided_places

Array = npt.NDArray[np.float64]

SMALLEST = float(np.finfo(np.float64).eps)  # what a relative error divides by at least, as in scikit-learn


def decided_classes(logs: Array, outputs: np.ndarray, description: Mapping[str, Any]) -> npt.NDArray[np.int64]:
    """Return the predicted class from 0, (rows,): by the version's threshold, or the largest of the logs of classes."""
    return decided_places(outputs, description) if "threshold" in description else logs.argmax(axis=1)


def brier_scores(probabilities: Array, wanted: npt.NDArray[np.int64], is_binary: bool) -> Array:
    """Return the squared error of a row's probabilities, summed over classes, (rows,); of two classes half of it.

    `wanted` is the class from 0, or -1 for one that the model does not know (Brier, 1950).
    """
    squares = (probabilities**2).sum(axis=1)
    chosen = np.where(wanted >= 0, probabilities[np.arange(len(wanted)), wanted], 0.0)
    scores: Array = (squares - 2.0 * chosen + 1.0) / (2.0 if is_binary else 1.0)
    return scores


def is_among_top(scores: Array, wanted: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.bool_]:
    """Return whether the wanted class is among the `count` with the highest scores, (rows,); -1 never is.

    Of equal scores the later class counts as higher, as in scikit-learn.
    """
    chosen = scores[np.arange(len(wanted)), wanted][:, None]
    is_later = np.arange(scores.shape[1]) > wanted[:, None]
    above = (scores > chosen) | ((scores == chosen) & is_later)
    found: npt.NDArray[np.bool_] = (above.sum(axis=1) < count) & (wanted >= 0)
    return found


def relative_errors(values: Array, targets: Array) -> Array:
    """Return the absolute error divided by the size of the target, averaged over quantities, (rows,)."""
    means: Array = np.mean(np.abs(values - targets) / np.maximum(np.abs(targets), SMALLEST), axis=1)
    return means


def pinball_losses(values: Array, targets: Array, level: float) -> Array:
    """Return the pinball loss of a quantile, averaged over quantities, (rows,) (Koenker & Bassett, 1978)."""
    errors = targets - values
    means: Array = np.mean(np.maximum(level * errors, (level - 1.0) * errors), axis=1)
    return means


def has_zero(quantities: np.ndarray, description: Mapping[str, Any]) -> bool:
    """Return whether a quantity in the units of the data is 0, as far as values that were standardized show it."""
    scale = description.get("target_scale", {"mean": [0.0], "deviation": [0.0]})
    rounding = 1e-6 * (np.abs(scale["mean"]) + np.abs(scale["deviation"]))  # of float32
    return bool((np.abs(quantities) <= rounding).any())
