"""Columns of a CSV file in which labels such as 1.1 and 1.10, or 1E5 and 10E4, become one number."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

ROWS, FEWEST_ROWS = 10_000, 500  # that are read again
READ_FIELDS = 1_000_000  # of all such columns
MOST_LABELS = 200  # more different numbers are a quantity
_EXPONENT = re.compile(r"\d+[eE]\d+")
_DECIMALS = re.compile(r"-?\d+[.,]\d+")


def merged_numbers(
    file: Path, table: "pd.DataFrame", stated: Collection[str], options: Mapping[str, Any]
) -> tuple[str, ...]:
    """Report columns of few different numbers of which some are written in two ways, or like codes: sections, versions.

    Columns that the study states to be numbers are not reported. `options` are those of pandas' reader for the way in
    which the file is written.
    """
    import pandas as pd  # noqa: PLC0415 - half a second, only for tables

    suspects = [
        name
        for name in table.columns
        if table[name].dtype.kind == "f" and name not in stated and 1 < table[name][:ROWS].nunique() <= MOST_LABELS
    ]
    if not suspects:
        return ()
    rows = min(ROWS, max(FEWEST_ROWS, READ_FIELDS // len(suspects)))
    texts = pd.read_csv(file, **options, dtype=str, usecols=suspects, nrows=rows)
    said = {name: _pair(texts[name]) or _code(texts[name]) for name in suspects}
    remedy = 'if they are labels: categorical = ["{}"] in [data]'
    return tuple(f"column {name!r}: {words}; {remedy.format(name)}" for name, words in said.items() if words)


def _code(texts: "pd.Series[Any]") -> str:
    """Say that a text such as 1E5 is a number; empty without one. Programs write 1e+05 and 1.0e5."""
    code = next((text for text in map(str, texts.dropna().unique()) if _EXPONENT.fullmatch(text.strip())), None)
    return "" if code is None else f"{code!r} is the number {float(code):g}"


def _pair(texts: "pd.Series[Any]") -> str:
    """Say that two texts are one number, if all are numbers with decimals; empty otherwise."""
    known = [str(text).strip() for text in texts.dropna().unique()]
    if not all(map(_DECIMALS.fullmatch, known)):
        return ""
    seen: dict[float, str] = {}
    for text in known:
        first = seen.setdefault(float(text.replace(",", ".")), text)
        if first != text:
            return f"{first!r} and {text!r} are one number"
    return ""
