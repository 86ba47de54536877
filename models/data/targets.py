"""Encode the targets: settle the task, check the values, and convert them to class indices, labels or quantities."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nightune.models.data.positions import settle_positions
from nightune.models.data.raw_data import RawData
from nightune.models.data.shaped_targets import settle_shaped
from nightune.models.data.splits import Split
from nightune.models.data.target_column import FEW_CLASSES
from nightune.models.data.target_matrix import label_strata, settle_matrix
from nightune.models.data.weights import RowWeights
from nightune.models.errors import InputError
from nightune.models.serving.input_trees import arrays_of
from nightune.vocabulary import POSITIONS, TASKS, unknown_name

MOST_CODES = 128  # more different whole numbers are a quantity without a remark


@dataclass(frozen=True, eq=False)
class Targets:
    """Targets of all rows: int32 class indices (rows,) or labels (rows, labels), or float32 quantities.

    Labels are 0 or 1, and `classes` names them. Quantities are (rows,) or (rows, quantities); `mean` and `deviation`
    are set if they were standardized. Targets of more axes are labels or quantities in rows, with their `shape`; so are
    class indices at positions, -1 where a position has none.
    """

    values: np.ndarray
    task: str
    classes: tuple[Any, ...] | None = None
    findings: tuple[str, ...] = ()
    mean: tuple[float, ...] | None = None
    deviation: tuple[float, ...] | None = None
    names: tuple[str, ...] | None = None  # of several columns, if they have names
    shape: tuple[int, ...] = ()  # of an example's targets, which `values` hold in one row; (): one number, or columns
    heads: tuple[tuple[str, "Targets"], ...] = ()  # several targets by name, whose columns `values` hold, float32
    weights: RowWeights | None = None  # of the rows of one of several heads, in the columns behind those of all targets

    @property
    def stratified(self) -> "Targets":
        """The targets by which rows may be stratified: these, or of several heads the only one with classes."""
        known = [each for _, each in self.heads if each.task != "regression" and not each.shape]
        return known[0] if len(known) == 1 else self

    @property
    def has_strata(self) -> bool:
        """True for classes and labels that divide the rows: not for quantities, positions, and several such heads."""
        by = self.stratified
        return by.task != "regression" and not (by.shape or by.heads)


def encode_targets(raw: RawData) -> Targets:
    """Settle the task, and convert booleans, numbers or texts to class indices, labels or quantities."""
    values, task, key = raw.targets, raw.task, raw.target_key
    if are_positions(raw):
        return read_positions(raw)
    _refuse_ignored_class(raw)
    if task is not None and task not in TASKS:
        raise InputError("data.task", unknown_name(task, TASKS))
    if len(values) < 3:
        raise InputError(key, f"{len(values)} {'row' if len(values) == 1 else 'rows'}; at least 3 are needed")
    if values.dtype.kind == "f":
        _refuse_non_finite(values, key)
    if values.ndim == 2:
        return _read_matrix(raw)
    if values.ndim > 2:
        return _read_shaped(raw)
    if task == "multilabel":
        raise InputError("data.task", "'multilabel' needs several columns of 0 and 1; for one column use \"binary\"")
    settled = task or infer_task(values)
    if settled == "regression":
        targets = _read_quantities(values, key)
        return replace(targets, findings=_codes_remark(values)) if task is None else targets
    targets = _read_classes(values, settled, key)
    if task is not None or values.dtype.kind not in "iuf" or _are_bits(values):
        return targets
    classes = targets.classes or ()
    is_pair = len(classes) == 2
    what = f"{classes[0]} and {classes[1]}" if is_pair else f"{len(classes)} different whole numbers"
    finding = (
        f"target: {what} are read as {'two ' if is_pair else ''}classes; "
        'if they are a quantity, set task = "regression" in [data]'
    )
    return replace(targets, findings=(finding,))


def _codes_remark(values: np.ndarray) -> tuple[str, ...]:
    """Say that a few whole numbers without large gaps among them are read as a quantity: they may be classes."""
    if not _are_whole(values):
        return ()
    distinct, span = len(np.unique(values)), float(values.max()) - float(values.min()) + 1
    if distinct > MOST_CODES or span > 2 * distinct or len(values) < 2 * distinct:
        return ()
    remedy = 'if they are classes, set task = "classification" in [data]'
    return (f"target: {distinct} different whole numbers are read as a quantity; {remedy}",)


def are_positions(raw: RawData) -> bool:
    """True for targets of several axes that the study calls classes; of two axes for more than two whole numbers."""
    values, task = raw.targets, raw.task
    if task == POSITIONS or task not in ("classification", "multiclass") or not raw.has_arrays:
        return task == POSITIONS
    if values.ndim != 2:
        return values.ndim > 2
    is_wide = values.shape[1] > 1 and values.dtype.kind in "iuf"
    return is_wide and _are_whole(values) and len(np.unique(values)) > 2


def read_positions(raw: RawData) -> Targets:
    """Read a class at each position: whole numbers, or one 1 in the last axis. Classes are named by their numbers."""
    settled = settle_positions(raw.targets, raw.ignore_class, raw.target_key)
    findings = settled.findings
    if raw.task != POSITIONS and raw.targets.ndim == 2:
        finding = f"target: whole numbers in {raw.targets.shape[1]} columns are read as a class at each position"
        remedy = "if each column is a target of its own, return them by name: (x, {'a': y[:, 0], …})"
        findings = (f"{finding}, of {len(settled.classes)} classes; {remedy}", *findings)
    return Targets(settled.indices, POSITIONS, settled.classes, findings, shape=settled.shape)


def _refuse_ignored_class(raw: RawData) -> None:
    if raw.ignore_class is not None:
        problem = "it is read only for a class at each position, of targets of several axes"
        raise InputError("data.ignore_class", f'{problem} with task = "classification"; remove it')


def infer_task(values: np.ndarray) -> str:
    """Infer the task of one column: classes are texts, booleans, two whole numbers, or up to 20 with 10 rows each."""
    if values.dtype.kind not in "iuf":
        return "classification"
    if not _are_whole(values):
        return "regression"
    distinct = len(np.unique(values))
    is_class = distinct == 2 or (2 < distinct <= FEW_CLASSES and len(values) >= 10 * distinct)
    return "classification" if is_class else "regression"


def standardize(targets: Targets, train: np.ndarray) -> Targets:
    """Shift and scale quantities by the mean and standard deviation of the training rows.

    One of several quantities that is the same in all of them is shifted only. Targets of more axes have one mean and
    one deviation.
    """
    if targets.task != "regression":
        raise InputError("data.scale_target", "true applies only to regression; leave it out")
    values, axis = targets.values.astype(np.float64), None if targets.shape else 0
    mean, deviation = (rounded(moment) for moment in (values[train].mean(axis=axis), values[train].std(axis=axis)))
    if not np.any(deviation > 0):
        raise InputError("data.scale_target", "the target is the same in all training rows; it cannot be scaled")
    deviation = np.where(deviation > 0, deviation, 1.0)
    return replace(
        targets,
        values=((values - mean) / deviation).astype(np.float32),
        mean=tuple(mean.tolist()),
        deviation=tuple(deviation.tolist()),
    )


def strata(targets: Targets) -> np.ndarray:
    """Return the strata of a stratified split, (rows,): classes, or combinations of labels; targets without any."""
    by = targets.stratified
    if by.shape or by.heads:
        return np.zeros(len(targets.values))
    return label_strata(by.values) if by.task == "multilabel" else by.values


def settle_split(split: Split, targets: Targets) -> Split:
    """Give a split without a kind the usual one; refuse a stratified split that the targets do not allow."""
    settled = replace(split, kind=split.kind or ("stratified" if targets.has_strata else "random"))
    if settled.kind == "stratified":
        _refuse_single_members(targets.stratified)
    return settled


def _refuse_single_members(targets: Targets) -> None:
    """Refuse classes with one row: a stratified split needs two of every class."""
    if targets.task == "regression":
        raise InputError(
            "data.split.kind", "'stratified' needs classes, and the task is regression; use kind = \"random\""
        )
    if targets.heads:
        count = sum(each.task != "regression" and not each.shape for _, each in targets.heads)
        problem = f"'stratified' needs one head with classes, and {count} of {len(targets.heads)} have some"
        raise InputError("data.split.kind", f'{problem}; use kind = "random", "group" or "time"')
    if targets.shape:
        problem = f"'stratified' needs one class or some labels of each row, and targets have the shape {targets.shape}"
        raise InputError("data.split.kind", f'{problem}; use kind = "random", "group" or "time"')
    if targets.task == "multilabel":
        return
    assert targets.classes is not None  # set for every classification
    counts = np.bincount(targets.values, minlength=len(targets.classes))
    single = [repr(label) for label, count in zip(targets.classes, counts, strict=True) if count == 1]
    if single:
        are_numbers = all(isinstance(label, int) and not isinstance(label, bool) for label in targets.classes)
        quantity = '; if they are a quantity, set task = "regression" in [data]' if are_numbers else ""
        raise InputError(
            "data.split.kind",
            f"a stratified split needs 2 rows of each class; only one row has {', '.join(single[:5])}: "
            f'remove such rows, merge their classes, or use kind = "random"{quantity}',
        )


def _read_matrix(raw: RawData) -> Targets:
    """Read targets of several columns; `raw.target_names` name them, if they have names."""
    settled, names = settle_matrix(raw.targets, raw.task, raw.target_key), raw.target_names
    columns: tuple[Any, ...] = names or tuple(range(raw.targets.shape[1]))
    if settled.task == "regression":
        targets = _read_quantities(settled.values, raw.target_key)
    elif settled.task == "multilabel":
        if np.all(np.ptp(settled.values, axis=0) == 0):
            raise InputError(raw.target_key, "every row has the same labels; there is nothing to learn")
        targets = Targets(settled.values, settled.task, columns)
    else:
        _refuse_classes(settled.values, columns, settled.task, raw.target_key)
        targets = Targets(settled.values.astype(np.int32), settled.task, columns)
    return replace(targets, names=names, findings=settled.findings)


def _read_shaped(raw: RawData) -> Targets:
    """Read targets of more axes than rows and columns: images, masks and sequences."""
    shape, flat = raw.targets.shape[1:], raw.targets.reshape(len(raw.targets), -1)
    settled = settle_shaped(raw.targets, raw.task, raw.target_key, is_copied=_are_inputs(raw))
    if settled.task == "regression":
        targets = _read_quantities(settled.values.reshape(flat.shape), raw.target_key)
    else:
        targets = Targets(settled.values.reshape(flat.shape), settled.task, tuple(range(flat.shape[1])))
    return replace(targets, shape=shape, findings=settled.findings)


def _are_inputs(raw: RawData) -> bool:
    """True if the targets are one of the inputs."""
    return raw.has_arrays and any(np.array_equal(array, raw.targets) for array in arrays_of(raw.inputs))


def _read_quantities(values: np.ndarray, key: str) -> Targets:
    if values.dtype.kind not in "iuf":
        example = values[0].item() if hasattr(values[0], "item") else values[0]
        raise InputError(
            key,
            f"regression needs numbers, and the target holds values such as {example!r}; "
            'store numbers, or set task = "classification"',
        )
    if np.all(values.min(axis=0) == values.max(axis=0)):
        raise InputError(key, f"the target is {values.flat[0].item()!r} in every row; there is nothing to learn")
    if np.abs(values).max() > np.finfo(np.float32).max:
        raise InputError(key, "the target is too large for float32 (above 3e38); store it in a larger unit")
    return Targets(values.astype(np.float32), "regression")


def _read_classes(values: np.ndarray, task: str, key: str) -> Targets:
    if values.dtype.kind == "f":
        if not _are_whole(values):
            example = values[np.flatnonzero(values != np.floor(values))[0]].item()
            problem = f"the target holds {example!r}, and classes are whole numbers, texts or booleans"
            raise InputError(key, f'{problem}; for a quantity set task = "regression"')
        values = values.astype(np.int64)
    labels, indices = np.unique(values, return_inverse=True)
    classes = tuple(label.item() for label in labels)
    _refuse_classes(indices, classes, task, key)
    settled = "binary" if len(classes) == 2 and task != "multiclass" else "multiclass"
    return Targets(indices.astype(np.int32), settled, classes)


def _refuse_classes(indices: np.ndarray, classes: tuple[Any, ...], task: str, key: str) -> None:
    """Refuse a single class, nearly as many classes as rows, and a binary task of other than two classes."""
    seen = np.unique(indices)
    if len(seen) == 1:
        raise InputError(key, f"every row has the class {classes[seen[0]]!r}; there is nothing to learn")
    if len(seen) > len(indices) / 2:
        raise InputError(
            key,
            f"{len(seen)} different classes in {len(indices)} rows: a class needs at least 2 rows on average; "
            'is it an identifier, or a quantity (task = "regression")?',
        )
    if task == "binary" and len(classes) != 2:
        raise InputError(
            "data.task", f"'binary' needs 2 classes, and the target has {len(classes)}; use \"multiclass\""
        )


def _refuse_non_finite(values: np.ndarray, key: str) -> None:
    bad = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
    if len(bad):
        raise InputError(key, f"{len(bad)} targets are NaN or infinite, the first in row {bad[0]}; remove such rows")


def _are_whole(values: np.ndarray) -> bool:
    return values.dtype.kind in "iu" or bool(np.all(values == np.floor(values)))


def _are_bits(values: np.ndarray) -> bool:
    """True for the whole numbers 0 and 1, the usual codes of two classes."""
    return values.dtype.kind in "iu" and values.min() == 0 and values.max() == 1


def rounded(moment: Any) -> np.ndarray:
    """Round to 10 digits, so that data versions agree across processors, which add in different orders."""
    return np.array([float(f"{value:.10g}") for value in np.atleast_1d(moment)])
