"""Columns of a CSV file whose texts say more than the numbers that a reader makes of them: codes such as 01."""

import mmap
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightune.models.data.columns.long_numbers import EXACT
from nightune.models.serving.labels import as_texts

if TYPE_CHECKING:
    import pandas as pd

_ZERO_IN_FRONT = re.compile(rb"0[0-9](?:(?<=[,;\t|\n\r\"]..)|(?<=[,;\t|\n\r\"] ..))")  # looks back, which is faster
_SEARCHED = (",", ";", "\t", "|")  # separators


def as_written(
    file: Path, table: "pd.DataFrame", categorical: Sequence[str], options: Mapping[str, Any]
) -> "pd.DataFrame":
    """Return the table with the texts of its codes, as a file that keeps types holds them.

    These are whole numbers of which some have a zero in front, and columns of `categorical` with a number that is
    written otherwise than a reader of tables writes it, such as 01, 1.50 or true. `options` are those of pandas'
    reader with which the table was read.
    """
    import pandas as pd  # noqa: PLC0415 - half a second, only for tables

    is_searched = options.get("sep", ",") in _SEARCHED and not options["encoding"].startswith(("utf-16", "utf-32"))
    may_have_codes = any(dtype.kind in "iuf" for dtype in table.dtypes)
    has_codes = may_have_codes and (not is_searched or _has_zero_in_front(file))
    places = [
        place
        for place, name in enumerate(table.columns)
        if table.dtypes.iloc[place].kind in "iufb" and (name in categorical or has_codes or _are_rounded(table[name]))
    ]
    if not places:
        return table
    texts = pd.read_csv(file, **{**options, "dtype": str}, usecols=places)
    codes = {}
    for name in texts.columns:
        is_code = _differ(table[name], texts[name]) if name in categorical else _are_codes(texts[name])
        if is_code or (_are_rounded(table[name]) and _are_digits(texts[name])):
            codes[name] = texts[name]
    return table.assign(**codes)


def _are_rounded(values: "pd.Series[Any]") -> bool:
    """True for floats that a reader of tables has made of whole numbers beyond 2^53, gaps among them."""
    known = values.dropna() if values.dtype.kind == "f" else values[:0]
    return bool(len(known) and known.abs().max() > EXACT and (known % 1 == 0).all())


def _are_digits(texts: "pd.Series[Any]") -> bool:
    return bool(texts.dropna().str.fullmatch(r"\s*-?[0-9]+\s*").all())


def _has_zero_in_front(file: Path) -> bool:
    """Search the whole file for a field such as 01: most have none, and are read once."""
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return _ZERO_IN_FRONT.search(content) is not None


def _are_codes(texts: "pd.Series[Any]") -> bool:
    known = texts.dropna()
    return bool(known.str.fullmatch(r"\s*\d+\s*").all() and known.str.contains(r"^\s*0\d").any())


def _differ(values: "pd.Series[Any]", texts: "pd.Series[Any]") -> bool:
    """True unless all numbers are written alike: 1 and 2, or 1.0 and 2.0 as whole numbers with gaps among them are."""
    written = texts[texts.notna()]
    known = values[texts.notna()]
    return bool((as_texts(known) != written).any() and (known.map(str) != written).any())
