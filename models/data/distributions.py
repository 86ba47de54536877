"""Summarize how the columns of a study's data are distributed, so that a later night can tell whether they drifted.

Only rows outside the test split are read. Numbers are kept as order statistics, labels as counts.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from nightune.models.data.assembly import EncodedData
from nightune.models.data.targets import Targets
from nightune.models.serving.columns import IMAGE, NUMERIC, TEXT, clean_column
from nightune.models.serving.input_trees import named_arrays

SAMPLED_ROWS = 20_000
READ_VALUES, FEWEST_ROWS = 5_000_000, 64  # of an array, which may be larger than memory, and of targets
ORDER_STATISTICS = 256
MOST_LABELS = 256
MOST_FEATURES = 32  # of an array; of more, the mean and the deviation of each row
MOST_COLUMNS = 500

Distribution = dict[str, Any]  # as `Distribution` in tuning/analysis/drift.py


def distributions(data: EncodedData) -> tuple[Distribution, ...]:
    """Summarize the targets, then the inputs, over at most `SAMPLED_ROWS` rows, evenly spaced in their order."""
    parts = (data.rows.train, data.rows.validation, data.rows.ranking)
    rows = np.unique(np.concatenate([each for each in parts if each is not None]))
    if len(rows) > SAMPLED_ROWS:
        rows = rows[np.linspace(0, len(rows) - 1, SAMPLED_ROWS).astype(int)]
    targets = list(islice(_of_targets(data, rows), MOST_COLUMNS))
    inputs = _of_table(data, rows) if _is_table(data) else _of_arrays(data, rows)
    return (*targets, *islice(inputs, MOST_COLUMNS - len(targets)))


def _is_table(data: EncodedData) -> bool:
    return not data.raw.has_arrays and data.preprocessing is not None


def _of_targets(data: EncodedData, rows: np.ndarray) -> Iterator[Distribution]:
    for name, targets in data.targets.heads or [(data.raw.target_name or "target", data.targets)]:
        few = _bounded(rows, targets.values)
        if targets.task == "regression":
            yield from _of_matrix(name, _in_own_unit(targets, few), "target")
        else:
            yield from _of_classes(name, targets, few)


def _bounded(rows: np.ndarray, array: np.ndarray) -> np.ndarray:
    """Return the rows of an array that are read: `READ_VALUES` numbers, evenly spaced, but `FEWEST_ROWS` at least."""
    most = max(FEWEST_ROWS, READ_VALUES // max(1, math.prod(array.shape[1:])))
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(int)]


def _in_own_unit(targets: Targets, rows: np.ndarray) -> np.ndarray:
    """Return quantities as the source holds them, which training may read standardized."""
    values: np.ndarray = np.asarray(targets.values[rows], dtype=np.float64)
    if targets.mean is None or targets.deviation is None:
        return values
    return np.asarray(values * np.squeeze(targets.deviation) + np.squeeze(targets.mean))


def _of_classes(name: str, targets: Targets, rows: np.ndarray) -> Iterator[Distribution]:
    classes, known = [str(each) for each in targets.classes or ()], targets.values[rows]
    if targets.task == "multilabel":
        columns = known.reshape(len(rows), -1).T
        for label, column in list(zip(classes, columns, strict=False))[:MOST_FEATURES]:
            yield labels(f"{name} {label}", ("yes" if each else "no" for each in column), 0, "target")
        return
    known = known.reshape(-1).astype(np.int64)
    found, missing = Counter[str](), int((known < 0).sum())  # positions without a class
    for label, count in zip(classes, np.bincount(known[known >= 0], minlength=len(classes)).tolist(), strict=True):
        found[label] += count
    yield _counted(name, found, missing, "target")


def _of_table(data: EncodedData, rows: np.ndarray) -> Iterator[Distribution]:
    assert data.preprocessing is not None
    table: Any = data.raw.inputs
    for column in data.preprocessing.columns:
        if column.kind == IMAGE:
            continue
        cleaned = clean_column(table[column.name].iloc[rows], column)
        known = cleaned[cleaned.notna()]
        missing = len(cleaned) - len(known)
        if column.kind in NUMERIC:
            yield numbers(column.name, known.to_numpy(dtype=np.float64), missing, "input")
        elif column.kind == TEXT:
            yield numbers(f"{column.name} (characters)", np.array([len(str(each)) for each in known]), missing, "input")
        else:
            yield labels(column.name, map(str, known), missing, "input")


def _of_arrays(data: EncodedData, rows: np.ndarray) -> Iterator[Distribution]:
    for name, array in named_arrays(data.inputs):
        yield from _of_matrix(name or "input", np.asarray(array[_bounded(rows, array)]), "input")


def _of_matrix(name: str, values: np.ndarray, role: str) -> Iterator[Distribution]:
    matrix = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
    if matrix.shape[1] == 1:
        yield numbers(name, matrix[:, 0], 0, role)
    elif matrix.shape[1] <= MOST_FEATURES:
        for number, column in enumerate(matrix.T):
            yield numbers(f"{name} {number}", column, 0, role)
    else:
        yield numbers(f"{name} (mean of a row)", matrix.mean(axis=1), 0, role)
        yield numbers(f"{name} (deviation of a row)", matrix.std(axis=1), 0, role)


def numbers(name: str, values: np.ndarray, missing: int, role: str) -> Distribution:
    """Summarize numbers by their order statistics; values that are not finite are missing ones."""
    finite = np.sort(values[np.isfinite(values)])
    kept = finite
    if len(finite) > ORDER_STATISTICS:
        ranks = np.ceil(np.arange(1, ORDER_STATISTICS + 1) * len(finite) / ORDER_STATISTICS).astype(int) - 1
        kept = finite[ranks]
    shown = [float(f"{each:.7g}") for each in kept]
    gaps = missing + len(values) - len(finite)
    return {"name": name, "role": role, "rows": len(finite) + gaps, "missing": gaps, "values": shown}


def labels(name: str, values: Iterable[str], missing: int, role: str) -> Distribution:
    """Count labels; those that are not among the most frequent ones are counted together."""
    return _counted(name, Counter(values), missing, role)


def _counted(name: str, counts: Counter[str], missing: int, role: str) -> Distribution:
    counts = +counts  # without labels of no row
    kept = dict(sorted(counts.most_common(MOST_LABELS)))
    total = sum(counts.values())
    return {
        "name": name,
        "role": role,
        "rows": total + missing,
        "missing": missing,
        "counts": kept,
        "other": total - sum(kept.values()),
    }
