"""Convert a model's outputs to scores and probabilities of classes and labels, per row.

It imports only modules that are stored with every registered model (`CARRIED` in `predictor.py`).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from nightune.models.errors import InputError

Array = npt.NDArray[np.float64]
POSITIONS = "positions"  # the task of a class at each position, as in Nightune's vocabulary


def described_probabilities(outputs: np.ndarray, description: Mapping[str, Any]) -> Array:
    """Return the probabilities of a version's outputs (rows, size), float64 in [0, 1].

    Of classes they are (rows, classes) in the order of `classes` in the description, and sum to 1; of labels that may
    hold together (rows, labels), each by itself; of a class at each position (rows * positions, classes). InputError
    for a regression, which has none, and with the row for outputs that are no probabilities.
    """
    if description["task"] == "regression":
        raise InputError("output", "'probabilities' are of classes, and this model predicts quantities; use 'labels'")
    values = outputs.astype(np.float64)
    if description["task"] == POSITIONS:
        values = values.reshape(-1, len(description["classes"]))
    _refuse_wrong(values, description["is_logits"], description["task"] == "multilabel" or values.shape[1] == 1)
    if description["task"] == "multilabel":
        return label_probabilities(values, description["is_logits"])
    return class_probabilities(values, description["is_logits"])


def decided_places(outputs: np.ndarray, description: Mapping[str, Any]) -> npt.NDArray[np.int64]:
    """Return the place of each row's class, (rows,), from outputs (rows, size) of a version of classes.

    Of two classes the second is predicted above the version's threshold, if it has one; else the class of the largest
    output, or the second one above one half.
    """
    if "threshold" in description:
        second = class_probabilities(outputs.astype(np.float64), description["is_logits"])[:, 1]
        places = second > description["threshold"]
    elif outputs.shape[1] > 1:
        places = outputs.argmax(axis=1)
    else:
        places = outputs[:, 0] > (0.0 if description["is_logits"] else 0.5)
    return np.asarray(places, dtype=np.int64)


def class_scores(outputs: Array, is_logits: bool) -> Array:
    """Return a score of each class, (rows, classes), that orders rows as its probability does.

    One output is two classes. Scores are not clipped, so that probabilities close to 0 or 1 keep their order.
    """
    if outputs.shape[1] == 1:
        return np.concatenate([-outputs if is_logits else 1.0 - outputs, outputs], axis=1)
    if is_logits:
        shifted: Array = outputs - outputs.max(axis=1, keepdims=True)
        normalized: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return normalized
    total = outputs.sum(axis=1, keepdims=True)
    shares: Array = outputs / np.where(total > 0.0, total, 1.0)
    return shares


def class_probabilities(outputs: Array, is_logits: bool) -> Array:
    """Return the probability of each class, (rows, classes), not clipped."""
    if outputs.shape[1] == 1 and is_logits:
        second = label_probabilities(outputs, is_logits)
        return np.concatenate([1.0 - second, second], axis=1)
    scores = class_scores(outputs, is_logits)
    return np.asarray(np.exp(scores)) if is_logits else scores


def label_probabilities(outputs: Array, is_logits: bool) -> Array:
    """Return the probability of each label, (rows, labels)."""
    probabilities: Array = np.exp(-np.logaddexp(0.0, -outputs)) if is_logits else outputs
    return probabilities


def _refuse_wrong(outputs: Array, is_logits: bool, is_each_by_itself: bool) -> None:
    """Refuse outputs that are not finite, and probabilities outside [0, 1] or of which all are 0."""
    is_right = np.isfinite(outputs)
    if not is_logits:
        is_right &= outputs >= 0.0
        is_right &= (outputs <= 1.0) if is_each_by_itself else (outputs.sum(axis=1, keepdims=True) > 0.0)
    if not is_right.all():
        row, place = np.argwhere(~is_right)[0]
        raise InputError("outputs", f"the model's output for row {row} is {outputs[row, place]}: no probability")
