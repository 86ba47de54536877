"""Propose keys of [data] for columns of a table that would tell little as labels: texts, and many different labels."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from nightune.models.data.columns.categories import FREE_TEXT_WORDS, MOST_CATEGORIES
from nightune.models.data.columns.reading import Choices, Texts
from nightune.models.data.columns.recognize import are_texts, holds_wide_codes, recognize
from nightune.models.errors import InputError
from nightune.models.serving.columns import CATEGORY
from nightune.models.serving.preprocessing import FEATURES
from nightune.models.serving.vocabularies import words_of

if TYPE_CHECKING:
    import pandas as pd

WORDS, STEP = 5000, 5
MOST_WORDS = 200  # of a text that are read
COVERED = 95  # percent of the texts are read to their end
ROWS_PER_LABEL = 2  # on average, at least: fewer are names of rows


def proposed_columns(table: "pd.DataFrame", others: Iterable[str | None]) -> dict[str, Any]:
    """Return `text` and `codes` for the columns of a table, without `others`; empty if there are none of the kind."""
    apart = {*others, FEATURES}
    texts, codes = {}, {}
    for name in (str(name) for name in table.columns if name not in apart and "/" not in str(name)):
        if _are_numbers(table[name]):
            if holds_wide_codes(table[name].astype(np.float64)) and _repeats(table[name].nunique(), len(table)):
                codes[name] = 0
            continue
        labels = _labels_of(table[name])
        if len(labels) <= MOST_CATEGORIES:
            continue
        counts = np.array([len(words_of(label)) for label in labels])
        if counts.mean() >= FREE_TEXT_WORDS:
            texts[name] = {"words": WORDS, "length": _length(counts)}
        elif _repeats(len(labels), len(table)):
            codes[name] = 0
    return {key: columns for key, columns in (("text", texts), ("codes", codes)) if columns}


def _are_numbers(values: "pd.Series[Any]") -> bool:
    return isinstance(values.dtype, np.dtype) and values.dtype.kind in "iuf"


def _repeats(labels: int, rows: int) -> bool:
    return rows >= ROWS_PER_LABEL * labels


def _labels_of(values: "pd.Series[Any]") -> list[str]:
    """Return the different texts of a column of labels; none for a column of another kind."""
    try:
        if not are_texts(values) or recognize(values, Choices())[0].kind != CATEGORY:
            return []
        return list(Texts.of(values, ()).rows)
    except InputError:  # which the data reports
        return []


def _length(counts: np.ndarray) -> int:
    """Return a number of words that most texts do not exceed, in steps."""
    covered = int(np.ceil(np.percentile(counts, COVERED) / STEP)) * STEP
    return max(STEP, min(covered, MOST_WORDS))
