"""Columns of labels: those that differ only in case or outer blanks are one, and words for gaps are said."""

import re
from collections import Counter
from collections.abc import Mapping

from nightune.models.data.columns.reading import Texts, fields, looks_like_a_gap, quoted, shortened
from nightune.models.serving.labels import MISSING, fold

_INTERVAL = re.compile(r"\s*(\(\s*[^,;()\[\]]+,[^,;()\[\]]+\]|\[[^,;()\[\]]+,[^,;()\[\]]+\))\s*")  # as of pandas.cut
_PARTS = re.compile(r"[;|,]")  # between labels of one text
MOST_CATEGORIES = 50  # per column; rarer ones share a feature
FREE_TEXT_WORDS = 4  # on average
EXAMPLE_LENGTH = 40
READ_ALIKE = 'read rows for a prediction with pandas\' keep_default_na=False, na_values=[""]'


def merged_labels(rows: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    """Return the spellings that are one label, by its most frequent one; empty if there are none."""
    spellings: dict[str, list[str]] = {}
    for text in sorted(rows):
        spellings.setdefault(fold(text), []).append(text)
    merged = [texts for texts in spellings.values() if len(texts) > 1]
    return {max(texts, key=lambda text: rows[text]).strip(): tuple(texts) for texts in merged}


def label_of_gaps(rows: Mapping[str, int], merged: Mapping[str, tuple[str, ...]]) -> str:
    """Return the text of gaps among a column's labels: the usual one, unless a label has it."""
    if MISSING not in rows and fold(MISSING) not in map(fold, merged):
        return MISSING
    held = set(map(fold, rows))
    names = ("no value", *(f"no value ({number})" for number in range(2, len(held) + 3)))
    return next(name for name in names if fold(name) not in held)


def merge_remark(what: str, name: str, merged: Mapping[str, tuple[str, ...]]) -> str:
    """Say which spellings are one label, and how to keep them apart."""
    listed = "; ".join(f"{quoted(texts)} are {label!r}" for label, texts in list(merged.items())[:3])
    more = f"; and {len(merged) - 3} more labels" if len(merged) > 3 else ""
    return (
        f"{what}: labels that differ only in case or blanks are one: {listed}{more}; "
        f'to keep them apart: categorical = ["{name}"] in [data]'
    )


def word_remark(what: str, kind: str, rows: Mapping[str, int]) -> str | None:
    """Say that words such as NA are values of their own, and how they become gaps."""
    words = {text: count for text, count in rows.items() if looks_like_a_gap(text)}
    if not words:
        return None
    listed = ", ".join(f'"{text.strip()}"' for text in list(words)[:5])
    count = sum(words.values())
    return (
        f"{what}: {fields(count)} {'holds' if count == 1 else 'hold'} {quoted(words)}, read as {kind}; "
        f"for gaps: missing = [{listed}] in [data]; else {READ_ALIKE}"
    )


def several_labels_remark(what: str, rows: Mapping[str, int]) -> str | None:
    """Say that texts hold several labels each, such as a;b, of which most stand in other texts, too.

    Intervals of numbers, such as (17, 25], are one label.
    """
    parts = {text: _PARTS.split(text.strip("[]{}() ")) for text in rows}
    counts = Counter(part for each in parts.values() for part in {one.strip() for one in each})
    combined = [text for text, each in parts.items() if len(each) > 1]
    shared = sum(count > 1 for count in counts.values())
    if all(map(_is_interval, combined)) or "" in counts or shared <= len(counts) / 2:
        return None
    return (
        f"{what}: texts such as {combined[0]!r} are read as one class each; if they hold several labels, give each "
        'label a column of 0 and 1 in the source, and name these: target = ["a", "b"], task = "multilabel" in [data]'
    )


def _is_interval(text: str) -> bool:
    return _INTERVAL.fullmatch(text) is not None and all(map(_is_number, text.strip("[]() ").split(",")))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def size_remark(texts: Texts) -> str | None:
    """Say what becomes of free text and of more labels than there are features."""
    values, name = texts.rows, texts.name
    if len(values) <= MOST_CATEGORIES:
        return None
    words = sum(len(text.split()) for text in values) / len(values)
    shared = f"{MOST_CATEGORIES - 1} of its {len(values)} different texts have a feature each, the others share one"
    out = f'drop = ["{name}"] in [data]'
    if words >= FREE_TEXT_WORDS:
        example = shortened(next(iter(values)), EXAMPLE_LENGTH)
        return (
            f"column {name!r} holds free text (such as {example!r}), read as labels: {shared}. "
            f'Choices: an input of words, text = ["{name}"] in [data], {out}, or numbers made of it by a function of '
            'yours (source = "file.py:function")'
        )
    keys = f'codes = ["{name}"] for an embedding, hashed = ["{name}"] or target_encoded = ["{name}"]'
    return f"column {name!r}: {shared}. Choices: keep it so, {keys} or {out}, or coarser groups in the source"
