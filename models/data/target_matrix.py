"""Targets of several columns: one-hot classes, labels or quantities; refuse a form that fits two tasks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nightune.models.errors import InputError

TASK_KEY = "data.task"
FEWEST_ALIKE = 5  # rows of a combination of labels that the usual shares spread over all parts of a split
ROUNDED = 5e-4  # of a share with three decimals, the largest error
LARGEST_APART = 0.01  # of the sum of shares from 1
FEW_WHOLE = 20  # as `infer_task`: whole numbers of a wider range are not taken for classes
LISTED = 5
QUANTITIES = '"regression" (quantities, squared error)'


@dataclass(frozen=True, eq=False)
class SettledMatrix:
    """The task, and the values for it: class indices (rows,), labels of 0 and 1 (rows, labels), or quantities."""

    task: str
    values: np.ndarray
    findings: tuple[str, ...] = ()


def settle_matrix(values: np.ndarray, task: str | None, key: str) -> SettledMatrix:
    """Settle the task of a matrix (rows, columns) of booleans or numbers; `task` is that of the study, if it has one.

    InputError for texts, for values that do not fit the task, and without a task for values that fit two.
    """
    if values.dtype.kind not in "biuf":
        raise InputError(
            key,
            f"the target has {values.shape[1]} columns of texts such as {values.flat[0].item()!r}; several columns "
            "need numbers or booleans, and classes as texts need one column",
        )
    if values.min() == values.max():
        raise InputError(key, f"the target is {values.flat[0].item()!r} in every row; there is nothing to learn")
    if task == "regression":
        return SettledMatrix(task, values.astype(np.float64) if values.dtype.kind == "b" else values)
    return _inferred(values) if task is None else _stated(values, task)


def label_strata(labels: np.ndarray) -> np.ndarray:
    """Return a stratum for each row of labels: its combination of labels if frequent, else its rarest label.

    A split that is stratified by them has nearly the same share of each label in all its parts.
    """
    packed = np.ascontiguousarray(np.packbits(labels.astype(bool), axis=1))
    rows = packed.view(np.dtype((np.void, packed.shape[1]))).ravel()
    _, combination, counts = np.unique(rows, return_inverse=True, return_counts=True)
    totals = labels.sum(axis=0)
    rarest = np.where(labels == 1, totals, len(labels) + 1).argmin(axis=1)
    is_rare = (counts[combination] < FEWEST_ALIKE) & (labels.sum(axis=1) > 0)
    strata: np.ndarray = np.where(is_rare, len(counts) + rarest, combination)
    return strata


def _inferred(values: np.ndarray) -> SettledMatrix:
    form, columns = _form(values), values.shape[1]
    if form == "one-hot":
        finding = (
            f"target: rows of 0 and 1 with one 1 in {columns} columns are read as {columns} classes; if each column is "
            'a label of its own, set task = "multilabel" in [data]; if they are quantities, task = "regression"'
        )
        return SettledMatrix("multiclass", values.argmax(axis=1), (finding,))
    if form == "labels":
        return SettledMatrix("multilabel", values.astype(np.int32), (_labels_finding(columns),))
    if form == "numbers":
        return SettledMatrix("regression", values, tuple(_quantity_findings(values)))
    raise _ambiguous(form, values)


def _stated(values: np.ndarray, task: str) -> SettledMatrix:
    form = _form(values)
    if form == "signed":
        values = values > 0
        form = _form_of_bits(values)
    if form not in ("one-hot", "labels", "cumulative"):
        error = _ambiguous(form, values)
        needs = "columns" if task == "multilabel" else "one column of classes, or columns"
        raise InputError(error.key, f"{task!r} needs {needs} of 0 and 1; {error.message}")
    if task == "multilabel":
        return SettledMatrix(task, values.astype(np.int32))
    if form == "one-hot":
        return SettledMatrix("binary" if task == "binary" else "multiclass", values.argmax(axis=1))
    if task != "classification":
        others = int((values.sum(axis=1) != 1).sum())
        raise InputError(
            TASK_KEY,
            f"{task!r} needs one class per row, and {others} of {len(values)} rows have no 1 or several; use "
            'task = "multilabel", or remove these rows',
        )
    if form == "cumulative":
        raise _ambiguous(form, values)
    return SettledMatrix("multilabel", values.astype(np.int32), (_labels_finding(values.shape[1]),))


def _form(values: np.ndarray) -> str:
    """Return the form of a matrix with at least two different values."""
    low, high = values.min(), values.max()
    if values.dtype.kind == "b" or (low == 0 and high == 1 and _has_only(values, low, high)):
        return _form_of_bits(values)
    if _has_only(values, low, high):
        return "signed" if (low, high) == (-1, 1) else "two values"
    apart = min(1.01 * ROUNDED * values.shape[1], LARGEST_APART)
    if low >= 0 and high <= 1 and bool(np.all(np.abs(values.sum(axis=1, dtype=np.float64) - 1) <= apart)):
        return "shares"
    return "numbers"


def _form_of_bits(bits: np.ndarray) -> str:
    if bool(np.all(bits.sum(axis=1) == 1)):
        return "one-hot"
    steps = np.diff(bits.astype(np.int8), axis=1)
    return "cumulative" if bool(np.all(steps <= 0)) or bool(np.all(steps >= 0)) else "labels"


def _has_only(values: np.ndarray, low: np.generic, high: np.generic) -> bool:
    return bool(np.all((values == low) | (values == high)))


def _ambiguous(form: str, values: np.ndarray) -> InputError:
    """Say what a matrix that fits two tasks holds, and what settles it."""
    low, high = values.min().item(), values.max().item()
    classes = (
        '"multiclass" (one 1 in each row), ' if form == "signed" and _form_of_bits(values > 0) == "one-hot" else ""
    )
    what, remedy = {
        "cumulative": (
            "the 1s of each row stand together at one end, as in codes of ordered classes",
            f'set task = "multilabel" (binary cross-entropy of each column) or {QUANTITIES}; for classes give their '
            'number as one column, such as y.sum(axis=1), with task = "classification"',
        ),
        "signed": (
            "the target holds -1 and 1 in several columns",
            f'set task = "multilabel" (1: the label holds), {classes}or {QUANTITIES}',
        ),
        "two values": (
            f"the target holds only {low!r} and {high!r} in several columns",
            f"set task = {QUANTITIES}; for labels or one-hot classes give booleans, such as y == {high!r}",
        ),
        "shares": (
            "the rows of the target are shares that sum to 1",
            'set task = "regression" in [data], and for shares of classes also loss = "crossentropy" in [training], '
            "with a model that ends in a softmax; for classes give that of the largest share as one column, "
            "y.argmax(axis=1)",
        ),
        "numbers": (
            f"the target has {values.shape[1]} columns of numbers",
            f"set task = {QUANTITIES}, or give labels as 0 and 1 and classes as one column",
        ),
    }[form]
    return InputError(TASK_KEY, f"{what}; {remedy}")


def _labels_finding(columns: int) -> str:
    return (
        f"target: {columns} columns of 0 and 1 are read as labels, of which a row may have none or several; if they "
        'are quantities, set task = "regression" in [data]'
    )


def _quantity_findings(values: np.ndarray) -> list[str]:
    """Report columns that a reader may take for classes or labels."""
    if float(values.max()) - float(values.min()) < FEW_WHOLE and bool(np.all(values == np.floor(values))):
        return [
            f"target: {values.shape[1]} columns of whole numbers are read as quantities; classes need one column, or a "
            "column of 0 and 1 for each class; a class at each position of a sequence needs "
            'task = "classification" in [data]'
        ]
    lows, highs = values.min(axis=0), values.max(axis=0)
    candidates = np.flatnonzero((lows == 0) & (highs == 1))
    bits = [int(column) for column in candidates if _has_only(values[:, column], lows[column], highs[column])]
    if not bits:
        return []
    return [f"target: of {values.shape[1]} quantities {listed(bits)} of 0 and 1 only; all are trained as numbers"]


def listed(columns: Sequence[object]) -> str:
    """Name columns: "column 3 is", or "columns 0, 1 and 4 more are"."""
    more = f" and {len(columns) - LISTED} more" if len(columns) > LISTED else ""
    names = ", ".join(map(repr, columns[:LISTED]))
    return f"column {names} is" if len(columns) == 1 else f"columns {names}{more} are"
