"""Targets that are a class at each position: pixels of an image, words of a sentence."""

from dataclasses import dataclass

import numpy as np

from nightune.models.errors import InputError

TASK_KEY, IGNORE_KEY = "data.task", "data.ignore_class"
IGNORED = -1  # the index of a position without a class
MOST_CLASSES = 10_000  # more different numbers are no classes


@dataclass(frozen=True, eq=False)
class SettledPositions:
    """Class indices (rows, positions) int32, IGNORED for none; the classes, and the shape of an example's targets."""

    indices: np.ndarray
    classes: tuple[int, ...]
    shape: tuple[int, ...]
    findings: tuple[str, ...] = ()


def settle_positions(values: np.ndarray, ignored: int | None, key: str) -> SettledPositions:
    """Settle the classes of targets (rows, axis, ...); `ignored` is the number of positions without a class.

    InputError for other values than whole numbers, for fewer than two classes, and for rows without any class.
    """
    if values.ndim < 2:
        problem = "'positions' needs targets of several axes, such as (rows, length) or (rows, height, width)"
        raise InputError(TASK_KEY, f"{problem}, and they have the shape {values.shape}")
    values = _whole(values, key)
    if ignored is None and values.ndim > 2 and _is_one_hot(values):
        indices = values.argmax(axis=-1)
        finding = f"target: one 1 in the last axis of {values.shape[1:]} is read as one of {values.shape[-1]} classes"
        classes = tuple(range(values.shape[-1]))
        flat = indices.reshape(len(values), -1).astype(np.int32)
        return SettledPositions(flat, classes, tuple(indices.shape[1:]), (f"{finding} at each position",))
    known = values != ignored if ignored is not None else np.ones(values.shape, bool)
    classes = tuple(int(each) for each in np.unique(values[known]))
    if not 2 <= len(classes) <= MOST_CLASSES:
        problem = f"the target has {len(classes)} different classes at its positions"
        what = "there is nothing to learn" if len(classes) < 2 else 'for quantities set task = "regression"'
        raise InputError(key, f"{problem}; {what}")
    flat = np.where(known, np.searchsorted(classes, values), IGNORED).reshape(len(values), -1).astype(np.int32)
    empty = np.flatnonzero((flat == IGNORED).all(axis=1))
    if len(empty):
        problem = f"{len(empty)} rows have no position with a class, the first is row {empty[0]}; remove them"
        raise InputError(IGNORE_KEY, problem)
    findings = () if ignored is None else _share(flat, ignored)
    return SettledPositions(flat, classes, tuple(values.shape[1:]), findings)


def outputs_at(shape: tuple[int, ...], classes: int) -> tuple[int, ...]:
    """Return the shape of an example's outputs: one for each class, instead of a last axis of 1."""
    axes = shape[:-1] if len(shape) > 1 and shape[-1] == 1 else shape
    return (*axes, classes)


def _whole(values: np.ndarray, key: str) -> np.ndarray:
    if values.dtype.kind not in "biuf":
        problem = f"the target holds {values.flat[0]!r}, and a class at each position is a whole number"
        raise InputError(key, f"{problem}: give each class a number")
    if values.dtype.kind == "f":
        if not np.all(values == np.floor(values)):  # NaN is not, either
            example = values[values != np.floor(values)].flat[0].item()
            problem = f"the target holds {example!r}, and a class at each position is a whole number"
            raise InputError(key, f'{problem}; for quantities set task = "regression" in [data]')
        return values.astype(np.int64)
    return values.astype(np.int64) if values.dtype.kind == "b" else values


def _is_one_hot(values: np.ndarray) -> bool:
    is_wide = values.shape[-1] > 1 and values.min() == 0 and values.max() == 1
    return is_wide and bool(np.all(values.sum(axis=-1) == 1))


def _share(indices: np.ndarray, ignored: int) -> tuple[str, ...]:
    share = float((indices == IGNORED).mean())
    counted = "loss and metrics leave them out" if share else "no position has it"
    return (f"target: {share:.1%} of the positions have no class ({ignored}, data.ignore_class): {counted}",)
