"""One line for each column of a table, as a person reads it: how it is read, what it holds, what was done to it."""

from typing import TYPE_CHECKING, Any

import numpy as np

from nightune.models.data.columns.reading import shortened
from nightune.models.data.dataset import ColumnLine
from nightune.models.data.raw_data import RawData
from nightune.models.data.settings import DataSettings
from nightune.models.data.targets import Targets
from nightune.models.serving.columns import (
    CATEGORY,
    CODE,
    HASHED,
    IMAGE,
    TARGET_ENCODED,
    TEXT,
    Column,
    are_missing,
    clean_column,
)
from nightune.models.serving.preprocessing import TablePreprocessing

if TYPE_CHECKING:
    import pandas as pd

EXAMPLE_LENGTH = 24


def column_lines(
    raw: RawData, targets: Targets, preprocessing: TablePreprocessing | None, settings: DataSettings, train: np.ndarray
) -> tuple[ColumnLine, ...]:
    """Describe the targets, then the other columns in the table's order; nothing for arrays."""
    if raw.has_arrays or preprocessing is None:
        return ()
    used = {column.name: column for column in preprocessing.columns}
    rows: Any = raw.inputs
    rows = rows.iloc[train]
    lines = _target_lines(raw, targets, train)
    lines += [_line(rows[name], used.get(str(name)), preprocessing) for name in rows.columns]
    if raw.split_column is not None and raw.split_column.name == settings.split.column:
        lines.append(_unused(str(raw.split_column.name), "splits the rows"))
    lines += [_unused(name, "weighs the rows") for name in settings.weight_columns]
    return (*lines, *(_unused(name, "dropped") for name in settings.drop))


def class_counts(targets: Targets, train: np.ndarray) -> dict[str, int] | None:
    """Count the training rows of each class or label; None for quantities and for labels at positions."""
    if targets.classes is None or targets.shape:
        return None
    known = targets.values[train]
    counts = known.sum(axis=0) if targets.task == "multilabel" else np.bincount(known, minlength=len(targets.classes))
    return {str(label): int(count) for label, count in zip(targets.classes, counts, strict=True)}


def _target_lines(raw: RawData, targets: Targets, train: np.ndarray) -> list[ColumnLine]:
    read = [(raw.heads[name], each) for name, each in targets.heads] or [(raw.targets, targets)]
    lines, names = [], iter(raw.target_columns)
    for given, each in read:
        done = "target" if each.deviation is None else "target, standardized"
        read_as = {"regression": "number", "multilabel": "label"}.get(each.task, "classes")
        for values in given[train].reshape(len(train), -1).T:
            lines.append(ColumnLine(next(names), read_as, len(np.unique(values)), 0, _example(values[0]), done))
    return lines


def _line(values: "pd.Series[Any]", column: Column | None, preprocessing: TablePreprocessing) -> ColumnLine:
    known = values.dropna()
    example = _example(known.iloc[0]) if len(known) else ""
    if column is None:
        what = "left out: it is empty" if not len(known) else "left out: it holds a single value"
        return ColumnLine(str(values.name), "nothing", known.nunique(), len(values) - len(known), example, what)
    cleaned = clean_column(values, column)
    is_missing = are_missing(cleaned, column)
    kept = cleaned[~is_missing]
    example = _example(values.loc[kept.index[0]]) if len(kept) else example
    done = _done(column, preprocessing)
    return ColumnLine(column.name, column.kind, int(kept.nunique()), int(is_missing.sum()), example, done)


def _done(column: Column, preprocessing: TablePreprocessing) -> str:
    if column.kind == IMAGE:
        height, width, channels = preprocessing.images[column.name]
        parts = [f"{height} × {width} pixels of {channels} colours, from 0 to 1"]
    elif column.kind == TEXT:
        words = preprocessing.texts[column.name]
        parts = [f"indices of {words.size} words, the first {words.length} of each text"]
    elif column.kind == CODE:
        parts = [f"codes below {preprocessing.codes[column.name].size}, 0 for unknown values"]
    elif column.kind == HASHED:
        parts = [f"labels share {preprocessing.encodings.hashed[column.name].size} features by a hash"]
    elif column.kind == TARGET_ENCODED:
        parts = ["mean of the target by label, for training rows without their own"]
    elif column.kind == CATEGORY:
        fitted = preprocessing.categories[column.name]
        parts = [f"one feature for each of {len(fitted.known) - len(fitted.rare)} labels"]
        parts.append(f"{len(fitted.rare)} rare labels share one" if fitted.rare else "")
        parts.append("case and blanks ignored" if column.labels else "")
    else:
        parts = ["0 and 1" if column.kind == "boolean" else "standardized", _written(column)]
        parts.append("gaps filled and marked" if column.name in preprocessing.gaps else "")
        dates = preprocessing.encodings.date_parts.get(column.name)
        parts.append("" if dates is None else f"with {', '.join(dates.parts)}")
    return "; ".join(part for part in parts if part)


def _written(column: Column) -> str:
    marks = f"{', '.join(column.marks)} taken off" if column.marks else ""
    return "; ".join(part for part in (f"texts like {column.form}" if column.form else "", marks) if part)


def _unused(name: str, why: str) -> ColumnLine:
    return ColumnLine(name, "nothing", None, None, "", why)


def _example(value: Any) -> str:
    return shortened(str(value), EXAMPLE_LENGTH)
