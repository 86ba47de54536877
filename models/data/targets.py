"""Encode the targets: settle the task, check the values, and convert them to class indices or quantities."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nightune.models.data.raw_data import RawData
from nightune.models.data.splits import Rows, Split
from nightune.models.data.target_column import FEW_CLASSES
from nightune.models.errors import InputError
from nightune.vocabulary import TASKS, unknown_name

LARGE = 100.0  # a larger mean or standard deviation trains badly with common learning rates


@dataclass(frozen=True, eq=False)
class Targets:
    """Targets of all rows: int32 class indices (rows,), or float32 quantities (rows,) or (rows, quantities).

    `mean` and `deviation` are set if quantities were standardized.
    """

    values: np.ndarray
    task: str
    classes: tuple[Any, ...] | None = None
    findings: tuple[str, ...] = ()
    mean: tuple[float, ...] | None = None
    deviation: tuple[float, ...] | None = None


def encode_targets(raw: RawData) -> Targets:
    """Settle the task, and convert booleans, whole numbers, texts or floats to class indices or quantities."""
    values, task, key = raw.targets, raw.task, raw.target_key
    if task is not None and task not in TASKS:
        raise InputError("data.task", unknown_name(task, TASKS))
    if len(values) < 3:
        raise InputError(key, f"{len(values)} {'row' if len(values) == 1 else 'rows'}; at least 3 are needed")
    if values.dtype.kind == "f":
        _refuse_non_finite(values, key)
    settled = task or infer_task(values)
    if settled == "regression":
        return _read_quantities(values, key)
    targets = _read_classes(values, settled, key)
    is_guess = task is None and values.dtype.kind in "iuf" and len(targets.classes or ()) > 2
    if not is_guess:
        return targets
    finding = (
        f"target: {len(targets.classes or ())} different whole numbers are read as classes; "
        'if they are a quantity, set task = "regression" in [data]'
    )
    return replace(targets, findings=(finding,))


def infer_task(values: np.ndarray) -> str:
    """Infer the task: classes are texts, booleans, two whole numbers, or up to 20 with 10 rows each on average."""
    if values.dtype.kind not in "iuf":
        return "classification"
    if values.ndim == 2 or not _are_whole(values):
        return "regression"
    distinct = len(np.unique(values))
    is_class = distinct == 2 or (2 < distinct <= FEW_CLASSES and len(values) >= 10 * distinct)
    return "classification" if is_class else "regression"


def standardize(targets: Targets, train: np.ndarray) -> Targets:
    """Shift and scale quantities by the mean and standard deviation of the training rows."""
    if targets.task != "regression":
        raise InputError("data.scale_target", "true applies only to regression; leave it out")
    values = targets.values.astype(np.float64)
    mean, deviation = (rounded(moment) for moment in (values[train].mean(axis=0), values[train].std(axis=0)))
    if not np.all(deviation > 0):
        raise InputError("data.scale_target", "the target is the same in all training rows; it cannot be scaled")
    return replace(
        targets,
        values=((values - mean) / deviation).astype(np.float32),
        mean=tuple(mean.tolist()),
        deviation=tuple(deviation.tolist()),
    )


def target_findings(targets: Targets, rows: Rows) -> list[str]:
    """Report targets that make training or ranking hard: large quantities, and classes missing from a split."""
    if targets.task == "regression":
        if targets.deviation is not None:
            return []
        known = targets.values[rows.train].astype(np.float64)
        mean, deviation = _largest(known.mean(axis=0)), _largest(known.std(axis=0))
        if max(abs(mean), deviation) <= LARGE:
            return []
        return [
            f"target: large numbers (mean {mean:.4g}, standard deviation {deviation:.4g}) train badly; "
            "consider scale_target = true in [data]; metrics are then in standard deviations"
        ]
    assert targets.classes is not None  # set for every classification
    findings = []
    splits = [("training", rows.train), ("validation", rows.validation), ("ranking", rows.ranking), ("test", rows.test)]
    for name, index in splits:
        if index is None:
            continue
        seen = set(np.unique(targets.values[index]).tolist())
        missing = [repr(label) for number, label in enumerate(targets.classes) if number not in seen]
        if missing:
            listed = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
            findings.append(f"target: no {name} row has class {listed}; use a stratified split, or add rows")
    return findings


def settle_split(split: Split, targets: Targets) -> Split:
    """Give a split without a kind the usual one; refuse a stratified split that the targets do not allow."""
    settled = replace(split, kind=split.kind or ("random" if targets.task == "regression" else "stratified"))
    if settled.kind == "stratified":
        _refuse_single_members(targets)
    return settled


def _refuse_single_members(targets: Targets) -> None:
    """Refuse classes with one row: a stratified split needs two of every class."""
    if targets.task == "regression":
        raise InputError(
            "data.split.kind", "'stratified' needs classes, and the task is regression; use kind = \"random\""
        )
    assert targets.classes is not None  # set for every classification
    counts = np.bincount(targets.values, minlength=len(targets.classes))
    single = [repr(label) for label, count in zip(targets.classes, counts, strict=True) if count == 1]
    if single:
        raise InputError(
            "data.split.kind",
            f"a stratified split needs 2 rows of each class; only one row has {', '.join(single[:5])}: "
            'remove such rows, merge their classes, or use kind = "random"',
        )


def _read_quantities(values: np.ndarray, key: str) -> Targets:
    if values.dtype.kind not in "iuf":
        example = values[0].item() if hasattr(values[0], "item") else values[0]
        raise InputError(
            key,
            f"regression needs numbers, and the target holds values such as {example!r}; "
            'store numbers, or set task = "classification"',
        )
    if np.any(values.reshape(len(values), -1).min(axis=0) == values.reshape(len(values), -1).max(axis=0)):
        raise InputError(key, f"the target is {values.flat[0].item()!r} in every row; there is nothing to learn")
    if np.abs(values).max() > np.finfo(np.float32).max:
        raise InputError(key, "the target is too large for float32 (above 3e38); store it in a larger unit")
    return Targets(values.astype(np.float32), "regression")


def _read_classes(values: np.ndarray, task: str, key: str) -> Targets:
    if values.ndim != 1:
        raise InputError(
            key,
            f"classes need one label per row, and the target has shape {values.shape}; for one-hot rows: y.argmax(1)",
        )
    if values.dtype.kind == "f":
        if not _are_whole(values):
            example = values[np.flatnonzero(values != np.floor(values))[0]].item()
            problem = f"the target holds {example!r}, and classes are whole numbers, texts or booleans"
            raise InputError(key, f'{problem}; for a quantity set task = "regression"')
        values = values.astype(np.int64)
    labels, indices = np.unique(values, return_inverse=True)
    count = len(labels)
    if count == 1:
        raise InputError(key, f"every row has the class {labels[0].item()!r}; there is nothing to learn")
    if count > len(values) / 2:
        raise InputError(
            key,
            f"{count} different classes in {len(values)} rows: a class needs at least 2 rows on average; "
            'is it an identifier, or a quantity (task = "regression")?',
        )
    if task == "binary" and count != 2:
        raise InputError("data.task", f"'binary' needs 2 classes, and the target has {count}; use \"multiclass\"")
    settled = "binary" if count == 2 and task != "multiclass" else "multiclass"
    return Targets(indices.astype(np.int32), settled, tuple(label.item() for label in labels))


def _refuse_non_finite(values: np.ndarray, key: str) -> None:
    bad = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
    if len(bad):
        raise InputError(key, f"{len(bad)} targets are NaN or infinite, the first in row {bad[0]}; remove such rows")


def _are_whole(values: np.ndarray) -> bool:
    return values.dtype.kind in "iu" or bool(np.all(values == np.floor(values)))


def rounded(moment: Any) -> np.ndarray:
    """Round to 10 digits, so that data versions agree across processors, which add in different orders."""
    return np.array([float(f"{value:.10g}") for value in np.atleast_1d(moment)])


def _largest(values: Any) -> float:
    flat = np.atleast_1d(values)
    return float(flat[np.argmax(np.abs(flat))])
