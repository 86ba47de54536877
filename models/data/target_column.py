"""Read the target column of a table: booleans, numbers or labels, and the rows that have none."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nightune.models.data.columns.categories import (
    merge_remark,
    merged_labels,
    several_labels_remark,
    word_remark,
)
from nightune.models.data.columns.numbers import are_codes
from nightune.models.data.columns.reading import Reading, Texts, is_separated, quoted
from nightune.models.data.columns.recognize import are_texts, recognize_texts, unread_numbers
from nightune.models.data.columns.sentinels import sentinel_remark
from nightune.models.data.settings import DataSettings
from nightune.models.errors import InputError
from nightune.models.serving.columns import Column, clean_column
from nightune.models.serving.labels import are_gaps, as_text, fold

if TYPE_CHECKING:
    import pandas as pd

KEY = "data.target"
CLASSES = ("classification", "binary", "multiclass")
FEW_CLASSES = 20  # more different whole numbers are a quantity


@dataclass(frozen=True, eq=False)
class TargetColumn:
    """The targets of the rows that have one, and a mask of those that lack it; `task` is None if values decide."""

    values: np.ndarray
    lacks: np.ndarray
    task: str | None
    findings: tuple[str, ...]


def read_target(column: "pd.Series[Any]", settings: DataSettings) -> TargetColumn:
    """Read the column as its values or texts say; InputError if it is empty, or holds what cannot be predicted."""
    given = column
    lacks = _lacks(column, settings.missing)
    task: str | None = None
    remarks: list[str] = []
    if column.name in settings.categorical:
        task = settings.one_task or "classification"
    elif column[~lacks].size and are_texts(column[~lacks]):
        column, task, remarks = _from_texts(column[~lacks], settings)
        lacks = lacks | ~given.index.isin(column.index[column.notna().to_numpy()])
        column = column.reindex(given.index)
    values = _target_values(column[~lacks], given, lacks)
    if values.dtype.kind in "iuf" and given.name not in settings.numeric:
        sentinel = sentinel_remark(str(given.name), values.astype(np.float64), settings.missing)
        remarks += [f"target: {sentinel}"] if sentinel else []
    return TargetColumn(values=values, lacks=lacks, task=task, findings=(*_lacking(given, lacks), *remarks))


def _lacks(column: "pd.Series[Any]", missing: tuple[str, ...]) -> np.ndarray:
    lacks = column.isna().to_numpy(dtype=bool)
    if column.dtype.kind == "f":
        lacks = lacks | np.isinf(column.to_numpy())
    is_gap: np.ndarray = lacks | are_gaps(column, missing)
    return is_gap


def _from_texts(known: "pd.Series[Any]", settings: DataSettings) -> tuple["pd.Series[Any]", str | None, list[str]]:
    """Return the values that texts stand for, the task if the texts settle it, and remarks."""
    texts = Texts.of(known, ())
    choices, is_stated = settings.choices, known.name in settings.numeric
    if settings.task == "regression" and are_codes(texts):
        choices, is_stated = replace(choices, numeric={**choices.numeric, str(known.name): ""}), True
    reading = None if settings.task in CLASSES else recognize_texts(texts, choices)
    if reading is None:
        return _labels(known, texts, settings)
    name, remarks = str(known.name), [remark.replace("column", "target: column", 1) for remark in reading.remarks]
    if reading.kind == "date":
        raise InputError(
            KEY,
            f"column {name!r} holds dates; a model predicts numbers or classes: turn them into a number, such as days "
            'since a fixed date, or set task = "classification"',
        )
    values = clean_column(
        known, Column(name, str(known.dtype), reading.kind, reading.form, reading.marks, reading.gaps)
    )
    if reading.kind == "boolean":
        return values.map({1.0: True, 0.0: False}).astype(object).where(values.notna(), None), None, remarks
    if not _is_amount(reading, texts):
        if not is_stated and not texts.placeholders and not reading.gaps and _are_few_whole(values):
            return _labels(known, texts, settings)  # digits that are texts: labels
        return values, None, remarks
    return values, "regression" if settings.task is None else None, remarks


def _is_amount(reading: Reading, texts: Texts) -> bool:
    return bool(reading.marks) or any(map(is_separated, texts.values))


def _are_few_whole(values: "pd.Series[Any]") -> bool:
    return bool((values == values.round()).all()) and values.nunique() <= FEW_CLASSES


def _labels(
    known: "pd.Series[Any]", texts: Texts, settings: DataSettings
) -> tuple["pd.Series[Any]", str | None, list[str]]:
    merged = merged_labels(texts.rows)
    what = f"target: column {known.name!r}"
    word = word_remark(what, "classes of their own", texts.rows)
    remarks = [word] if word else []
    if settings.task not in CLASSES:
        remarks += [remark.replace("column", "target: column", 1) for remark in unread_numbers(texts)]
    several = several_labels_remark(what, texts.rows)
    remarks += [several] if several and settings.task is None else []
    if len(texts.rows) > FEW_CLASSES:
        remarks.append(f"{what}: {len(texts.rows)} different texts ({quoted(texts.rows)}) are read as classes")
    if merged:
        remarks.append(merge_remark(what, str(known.name), merged))
        labels = {fold(label): label for label in merged}
        known = known.map(lambda value: labels.get(fold(as_text(value)), value))
    return known, None, remarks


def _lacking(column: "pd.Series[Any]", lacks: np.ndarray) -> tuple[str, ...]:
    count = int(lacks.sum())
    if not count:
        return ()
    share = f"{count} of {len(column)} rows ({count / len(column):.1%})"
    return (f"target: {share} have no value in column {column.name!r}; they are left out",)


def _target_values(column: "pd.Series[Any]", given: "pd.Series[Any]", lacks: np.ndarray) -> np.ndarray:
    """Convert the target column to booleans, whole numbers, floats or texts."""
    import pandas as pd  # noqa: PLC0415 - half a second, only for tables

    if lacks.all():
        raise InputError(KEY, f"column {given.name!r} is empty")
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind in ("boolean", "integer"):
        whole = np.uint64 if column.dtype.kind == "u" else np.int64
        return column.to_numpy(dtype=np.bool_ if kind == "boolean" else whole)
    if kind in ("floating", "mixed-integer-float", "decimal"):
        return column.to_numpy(dtype=np.float64)
    if kind in ("string", "bytes", "mixed-integer", "mixed") and all(
        isinstance(value, str | bytes | int | float) for value in column
    ):
        return np.array([as_text(value) for value in column], dtype=np.str_)
    raise InputError(KEY, f"column {column.name!r} holds {kind} values; numbers, texts or booleans are needed")
