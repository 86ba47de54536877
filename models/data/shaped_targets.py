"""Targets of more axes than rows and columns: settle whether they are quantities or labels; refuse other classes."""

import numpy as np

from nightune.models.data.target_column import FEW_CLASSES
from nightune.models.data.target_matrix import TASK_KEY, SettledMatrix
from nightune.models.errors import InputError

QUANTITIES = 'set task = "regression" in [data] if they are quantities (squared error)'


def settle_shaped(values: np.ndarray, task: str | None, key: str, is_copied: bool = False) -> SettledMatrix:
    """Settle the task of targets (rows, axis, axis, ...); `task` is that of the study, if it has one.

    0 and 1 are labels, and other numbers quantities; those that are inputs (`is_copied`) and not 0 and 1, too.
    InputError for texts, one value everywhere, and what may be a class at each position, which the study states.
    """
    shape = values.shape[1:]
    if values.dtype.kind not in "biuf":
        problem = f"the target of shape {shape} holds texts such as {values.flat[0].item()!r}"
        raise InputError(key, f"{problem}; targets of several axes are numbers or booleans")
    if values.min() == values.max():
        raise InputError(key, f"the target is {values.flat[0].item()!r} in every row; there is nothing to learn")
    has_bits = values.dtype.kind == "b" or bool(np.all((values == 0) | (values == 1)))
    if task == "regression":
        return SettledMatrix(task, values.astype(np.float64) if values.dtype.kind == "b" else values)
    if task not in (None, "multilabel"):
        raise InputError(
            TASK_KEY, f"{task!r} needs one class for each row, and targets have the shape {shape}; {_labels()}"
        )
    if task == "multilabel":
        if not has_bits:
            raise InputError(TASK_KEY, f"'multilabel' needs 0 and 1, and the target holds {_some(values)}; {_labels()}")
        return SettledMatrix(task, values.astype(np.int32))
    if not has_bits:
        return _numbers(values, is_copied)
    if shape[-1] > 1 and bool(np.all(values.sum(axis=-1) == 1)):
        problem = f"each position of the target of shape {shape} has one 1 in its last axis: a class at each position"
        remedy = (
            'set task = "classification" for one of these classes, or "multilabel" for a binary cross-entropy of each'
        )
        raise InputError(TASK_KEY, f"{problem}; {remedy}, or {QUANTITIES}")
    finding = (
        f"target: 0 and 1 at {int(np.prod(shape))} positions, {shape}, are read as labels with a binary cross-entropy "
        'each; if they are quantities, set task = "regression" in [data]'
    )
    return SettledMatrix("multilabel", values.astype(np.int32), (finding,))


def _numbers(values: np.ndarray, is_copied: bool) -> SettledMatrix:
    """Take numbers as quantities, unless they may be indices of classes."""
    shape, count = values.shape[1:], len(np.unique(values)) if values.dtype.kind in "iu" else 0
    if count and count <= FEW_CLASSES and not is_copied:
        problem = (
            f"the target of shape {shape} holds {count} different whole numbers, which may be a class at each position"
        )
        raise InputError(TASK_KEY, f"{problem}; {QUANTITIES}; {_labels()}")
    which = ", which are an input," if is_copied else ""
    finding = f"target: {int(np.prod(shape))} numbers of shape {shape}{which} are read as quantities (squared error)"
    return SettledMatrix("regression", values, (finding,))


def _labels() -> str:
    return (
        'set task = "classification" if they are classes at positions (cross-entropy over the last axis); for labels '
        'give 0 and 1 for each class, such as y[..., None] == np.arange(3), with task = "multilabel" and a sigmoid'
    )


def _some(values: np.ndarray) -> str:
    return ", ".join(repr(value.item()) for value in np.unique(values)[:3])
