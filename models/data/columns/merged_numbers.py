"""Columns of a CSV file in which labels such as 1.1 and 1.10 become one number."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

ROWS = 10_000  # that are read again
MOST_LABELS = 200  # more different numbers are a quantity
_DECIMALS = re.compile(r"-?\d+[.,]\d+")


def merged_numbers(
    file: Path, table: "pd.DataFrame", stated: Collection[str], options: Mapping[str, Any]
) -> tuple[str, ...]:
    """Report columns of few different numbers of which some are written in two ways: sections, or versions.

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
    texts = pd.read_csv(file, **options, dtype=str, usecols=suspects, nrows=ROWS)
    pairs = {name: _pair(texts[name]) for name in suspects}
    return tuple(
        f"column {name!r}: {pair[0]!r} and {pair[1]!r} are one number; "
        f'if they are labels: categorical = ["{name}"] in [data]'
        for name, pair in pairs.items()
        if pair
    )


def _pair(texts: "pd.Series[Any]") -> tuple[str, str] | None:
    """Return two texts of one number, if all are numbers with decimals."""
    known = [str(text).strip() for text in texts.dropna().unique()]
    if not all(map(_DECIMALS.fullmatch, known)):
        return None
    seen: dict[float, str] = {}
    for text in known:
        first = seen.setdefault(float(text.replace(",", ".")), text)
        if first != text:
            return first, text
    return None
