"""Recognize the kind of a table's column, by its types and by its texts, and say what is unexpected."""

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from nightune.models.data.columns.booleans import recognize_booleans
from nightune.models.data.columns.categories import merge_remark, merged_labels, size_remark, word_remark
from nightune.models.data.columns.dates import compact_remark, recognize_dates
from nightune.models.data.columns.numbers import mixed_remark, recognize_numbers
from nightune.models.data.columns.reading import Choices, Reading, Texts, fields, quoted
from nightune.models.serving.columns import CATEGORY, Column, kind_of_values
from nightune.models.serving.date_texts import COMPACT

if TYPE_CHECKING:
    import pandas as pd

NUMERIC_TEXT = re.compile(r"[+-]?\d+([.,]\d+)*")


def recognize(values: "pd.Series[Any]", choices: Choices) -> tuple[Column, list[str]]:
    """Return the column, and remarks about what is unexpected in it or was done to its texts."""
    name, dtype = str(values.name), str(values.dtype)
    if name in choices.categorical:
        return _labels(values, choices, is_exact=True)
    form = choices.dates.get(name)
    if form == COMPACT and values.dtype.kind in "iuf":
        return Column(name, dtype, "date", form, (), choices.missing), []
    kind = kind_of_values(values)
    if kind == CATEGORY and are_texts(values):
        reading = recognize_texts(Texts.of(values, choices.missing), choices)
        if reading is not None:
            column = Column(name, dtype, reading.kind, reading.form, reading.marks, reading.gaps)
            return column, list(reading.remarks)
    if kind == CATEGORY:
        return _labels(values, choices, is_exact=False)
    gaps = _number_gaps(values, kind, choices)
    return Column(name, dtype, kind, gaps=gaps), _number_remarks(values, kind, gaps)


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


def _labels(values: "pd.Series[Any]", choices: Choices, is_exact: bool) -> tuple[Column, list[str]]:
    name, dtype = str(values.name), str(values.dtype)
    texts = Texts.of(values, choices.missing)
    merged = {} if is_exact else merged_labels(texts.rows)
    remarks = [word_remark(f"column {name!r}", "values of their own", texts.rows), size_remark(texts)]
    if texts.missing:
        remarks.append(f"column {name!r}: {texts.gap_remark({}, are_placeholders=False)}, as [data] missing says")
    if merged:
        exact = f'; to keep them apart: categorical = ["{name}"] in [data]'
        remarks.append(merge_remark(f"column {name!r}", merged, exact))
    remarks += [] if is_exact else unread_numbers(texts)
    gaps = choices.missing if is_exact else texts.missing
    return Column(name, dtype, CATEGORY, gaps=tuple(gaps), labels=tuple(merged)), [r for r in remarks if r]


def unread_numbers(texts: Texts) -> list[str]:
    """Report a column of labels that are mostly numbers, of several kinds or with other texts among them."""
    mixed = mixed_remark(texts)
    return [mixed] if mixed else _texts_among_numbers(texts)


def _texts_among_numbers(texts: Texts) -> list[str]:
    others = {text: rows for text, rows in texts.values.items() if not NUMERIC_TEXT.fullmatch(text.strip())}
    known, count = sum(texts.values.values()) + texts.number_rows, sum(others.values())
    if not 0 < count <= 0.5 * known:
        return []
    return [
        f"column {texts.name!r}: {count} texts such as {next(iter(others))!r} among {known - count} numbers; it "
        f'is read as labels; to read it as numbers and these texts as missing: numeric = ["{texts.name}"] in [data]'
    ]


def _number_gaps(values: "pd.Series[Any]", kind: str, choices: Choices) -> tuple[str, ...]:
    """The study's words that a column of numbers can hold, such as -999."""
    if kind != "number" or not choices.missing:
        return ()
    held = set(values.dropna().astype(np.float64).unique().tolist())
    return tuple(word for word in choices.missing if _number(word) in held)


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _number_remarks(values: "pd.Series[Any]", kind: str, gaps: tuple[str, ...]) -> list[str]:
    if kind != "number":
        return []
    numbers, remarks = values.astype(np.float64), []
    infinite = int(np.isinf(numbers).sum())
    if infinite:
        remarks.append(f"column {values.name!r}: {infinite} infinite values are read as missing")
    if gaps:
        held = fields(int(numbers.isin([float(gap) for gap in gaps]).sum()))
        remarks.append(f"column {values.name!r}: {held} ({quoted(gaps)}) read as missing, as [data] missing says")
    if values.dtype.kind in "iu":
        compact = compact_remark(str(values.name), [int(value) for value in values.dropna().unique()])
        remarks += [compact] if compact else []
    return remarks
