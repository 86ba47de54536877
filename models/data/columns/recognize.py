"""Recognize the kind of a table's column, by its types and by its texts, and say what is unexpected."""

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nightune.models.data.columns.booleans import recognize_booleans
from nightune.models.data.columns.categories import label_of_gaps, merge_remark, merged_labels, size_remark, word_remark
from nightune.models.data.columns.dates import compact_remark, recognize_dates
from nightune.models.data.columns.long_numbers import long_number_remark
from nightune.models.data.columns.numbers import code_remark, mixed_remark, recognize_numbers
from nightune.models.data.columns.reading import Choices, Reading, Texts, fields, quoted
from nightune.models.data.columns.sentinels import sentinel_remark
from nightune.models.data.columns.vocabularies import vocabulary_column
from nightune.models.errors import InputError
from nightune.models.serving.columns import (
    CATEGORY,
    EXACT_FLOATS,
    HASHED,
    TARGET_ENCODED,
    Column,
    clean_column,
    gap_number,
    kind_of_values,
)
from nightune.models.serving.date_texts import COMPACT, YEAR_FIRST
from nightune.models.serving.labels import MISSING, are_gaps

if TYPE_CHECKING:
    import pandas as pd

LARGEST_CODE = 1e20  # of a whole number that a machine holds in 64 bits; larger floats are amounts
NUMERIC_TEXT = re.compile(r"[+-]?\d+([.,]\d+)*")


def recognize(values: "pd.Series[Any]", choices: Choices) -> tuple[Column, list[str]]:
    """Return the column, and remarks about what is unexpected in it or was done to its texts.

    InputError for a column that cannot be of the kind that the study gives it.
    """
    name, dtype = str(values.name), str(values.dtype)
    found = vocabulary_column(values, choices) or _other_labels(values, choices) or _exact_labels(values, choices)
    if found is not None:
        return found
    if name in choices.dates and choices.dates[name] == COMPACT and values.dtype.kind in "iuf":
        return Column(name, dtype, "date", COMPACT, (), choices.missing), []
    is_stated = name in choices.numeric or name in choices.dates
    if is_stated and dtype == "category":
        values = values.astype(values.cat.categories.dtype)
    kind = kind_of_values(values)
    long_numbers = None if is_stated else long_number_remark(values)
    if long_numbers is not None:
        column, remarks = _labels(values, choices, is_exact=True)
        return column, [long_numbers, *remarks]
    if is_stated:
        kind = _stated_kind(values, kind, choices)
    if kind == CATEGORY and are_texts(values):
        reading = recognize_texts(Texts.of(values, choices.missing), choices)
        if reading is not None:
            column = Column(name, dtype, reading.kind, reading.form, reading.marks, reading.gaps)
            column, remarks = _with_value_gaps(values, column, choices)
            return column, [*reading.remarks, *remarks]
    if kind == CATEGORY:
        return _labels(values, choices, is_exact=False)
    column, remarks = _with_value_gaps(values, Column(name, dtype, kind), choices)
    return column, [*_number_remarks(values, kind, choices), *remarks, *_compact_remarks(values, kind)]


def _exact_labels(values: "pd.Series[Any]", choices: Choices) -> tuple[Column, list[str]] | None:
    return _labels(values, choices, is_exact=True) if values.name in choices.categorical else None


def are_texts(values: "pd.Series[Any]") -> bool:
    """True for a column of texts, with numbers among them perhaps."""
    from pandas.api.types import infer_dtype  # noqa: PLC0415 - half a second, only for tables

    inferred = infer_dtype(values, skipna=True)
    if inferred in ("string", "bytes"):
        return True
    if inferred not in ("mixed", "mixed-integer"):
        return False
    return all(isinstance(value, str | int | float) and not isinstance(value, bool) for value in values.dropna())


def recognize_texts(texts: Texts, choices: Choices) -> Reading | None:
    """Return how a column of texts is read as numbers, dates or booleans; None for labels."""
    name = texts.name
    if name in choices.numeric:
        return recognize_numbers(texts, choices.numeric[name], is_stated=True)
    if name in choices.dates:
        return recognize_dates(texts, choices.dates[name], is_stated=True)
    if not texts.values and not texts.number_rows:
        return None
    return recognize_booleans(texts) or recognize_numbers(texts) or recognize_dates(texts)


def _stated_kind(values: "pd.Series[Any]", kind: str, choices: Choices) -> str:
    """Return the kind with which to go on reading a column that the study calls one of numbers or dates."""
    from pandas.api.types import infer_dtype  # noqa: PLC0415 - half a second, only for tables

    name, key = str(values.name), "numeric" if values.name in choices.numeric else "dates"
    form = choices.dates.get(name, "")
    are_iso_texts = kind == "date" and infer_dtype(values, skipna=True) == "string"
    if are_iso_texts and (key == "numeric" or form not in ("", YEAR_FIRST)):
        return CATEGORY  # its texts say what is wrong
    if kind == CATEGORY and are_texts(values):
        return kind
    if kind == ("number" if key == "numeric" else "date") or not values.notna().any():
        return kind
    held = "labels" if kind == CATEGORY else f"{kind}s"
    remedy = f"take it out of {key}"
    if key == "dates" and kind == "number":
        remedy = f'dates of whole numbers need the form {COMPACT}: dates = {{ "{name}" = "{COMPACT}" }}; else {remedy}'
    raise InputError(f"data.{key}", f"column {name!r} holds {held}, such as {values.dropna().iloc[0]!s}; {remedy}")


def _with_value_gaps(values: "pd.Series[Any]", column: Column, choices: Choices) -> tuple[Column, list[str]]:
    """Add the study's gaps that the column holds as values: as numbers such as -999, as dates, or as time spans."""
    if not choices.missing:
        return column, []
    cleaned = clean_column(values, replace(column, gaps=(*column.gaps, *_unreadable(choices.missing, column))))
    held, rows = [], np.zeros(len(values), dtype=bool)
    for gap in choices.missing:
        number = gap_number(gap, column)
        if number is not None:
            found = (cleaned == number).to_numpy(dtype=bool)
        else:
            found = rows & False if values.dtype.kind in "iufmM" else are_gaps(values, [gap])
        if found.any() and gap not in column.gaps:
            held.append(gap)
            rows |= found
    if not held:
        return column, []
    remark = (
        f"column {column.name!r}: {fields(int(rows.sum()))} ({quoted(held)}) read as missing, as [data] missing says"
    )
    return replace(column, gaps=(*column.gaps, *held)), [remark]


def _unreadable(gaps: tuple[str, ...], column: Column) -> list[str]:
    """The gaps that are no values of the column's kind."""
    return [gap for gap in gaps if gap_number(gap, column) is None]


def _labels(
    values: "pd.Series[Any]", choices: Choices, is_exact: bool, has_features: bool = True
) -> tuple[Column, list[str]]:
    name, dtype = str(values.name), str(values.dtype)
    texts = Texts.of(values, choices.missing)
    # In numbers of several units, case may tell a unit: 5 mW is not 5 MW.
    merged = {} if is_exact or mixed_remark(texts) else merged_labels(texts.rows)
    remarks = [word_remark(f"column {name!r}", "values of their own", texts.rows)]
    remarks += [size_remark(texts)] if has_features else []
    if texts.missing:
        remarks.append(f"column {name!r}: {texts.gap_remark({}, are_placeholders=False)}, as [data] missing says")
    if merged:
        remarks.append(merge_remark(f"column {name!r}", name, merged))
    remarks += [] if is_exact or not has_features else unread_numbers(texts)
    missing_label = label_of_gaps(texts.rows, merged)
    if missing_label != MISSING:
        remarks.append(f"column {name!r}: {MISSING!r} is a label of its own, and empty fields are {missing_label!r}")
    gaps = choices.missing if is_exact else texts.missing
    column = Column(name, dtype, CATEGORY, gaps=tuple(gaps), labels=tuple(merged), missing_label=missing_label)
    return column, [remark for remark in remarks if remark]


def _other_labels(values: "pd.Series[Any]", choices: Choices) -> tuple[Column, list[str]] | None:
    """Return a column of labels that the study hashes or encodes by the target; None for all others."""
    name = str(values.name)
    if name not in choices.hashed and name not in choices.target_encoded:
        return None
    kind_of_values(values)  # refuses lists and other objects
    is_exact = name in choices.categorical
    column, remarks = _labels(values, choices, is_exact, has_features=False)
    return replace(column, kind=HASHED if column.name in choices.hashed else TARGET_ENCODED), remarks


def unread_numbers(texts: Texts) -> list[str]:
    """Report a column of labels that are mostly numbers, of several kinds or with other texts among them."""
    remark = mixed_remark(texts) or code_remark(texts)
    return [remark] if remark else _texts_among_numbers(texts)


def _texts_among_numbers(texts: Texts) -> list[str]:
    others = {text: rows for text, rows in texts.values.items() if not NUMERIC_TEXT.fullmatch(text.strip())}
    known, count = sum(texts.values.values()) + texts.number_rows, sum(others.values())
    if not 0 < count <= 0.5 * known:
        return []
    return [
        f"column {texts.name!r}: {count} texts such as {next(iter(others))!r} among {known - count} numbers; it "
        f'is read as labels; to read it as numbers and these texts as missing: numeric = ["{texts.name}"] in [data]'
    ]


def _number_remarks(values: "pd.Series[Any]", kind: str, choices: Choices) -> list[str]:
    if kind != "number":
        return []
    numbers = values.astype(object).where(values.notna(), np.nan).astype(np.float64)
    infinite = int(np.isinf(numbers).sum())
    remarks = [f"column {values.name!r}: {infinite} infinite values are read as missing"] if infinite else []
    sentinel = (
        None
        if values.name in choices.numeric
        else sentinel_remark(str(values.name), numbers.to_numpy(), choices.missing)
    )
    return [*remarks, *([sentinel] if sentinel else []), *([wide_remark(values)] if holds_wide_codes(numbers) else [])]


def holds_wide_codes(numbers: "pd.Series[Any]") -> bool:
    """True for whole numbers, some with more digits than a float keeps: ids and barcodes, no amounts."""
    known = numbers[np.isfinite(numbers)].abs()
    return len(known) > 0 and bool((known == np.floor(known)).all() and EXACT_FLOATS < known.max() < LARGEST_CODE)


def wide_remark(values: "pd.Series[Any]") -> str:
    """Say that a column of long whole numbers loses digits as a number."""
    name = str(values.name)
    return (
        f"column {name!r} holds whole numbers above 2^53, such as {values.dropna().iloc[0]!s}, which lose their last "
        f'digits as numbers; for ids: codes = ["{name}"] or categorical = ["{name}"] in [data], which keep every digit'
    )


def _compact_remarks(values: "pd.Series[Any]", kind: str) -> list[str]:
    if kind != "number" or values.dtype.kind not in "iu":
        return []
    compact = compact_remark(str(values.name), [int(value) for value in values.dropna().unique()])
    return [compact] if compact else []
