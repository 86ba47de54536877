"""Whole numbers with more digits than a float holds: barcodes and ids that are labels, not quantities."""

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

EXACT = 2**53  # float64 holds each whole number up to here
KEPT = 0.9  # of the different numbers: moments in nanoseconds, of which some are one as floats, are quantities
_LONG = re.compile(r"\s*\d{16,}\s*")


def long_number_remark(values: "pd.Series[Any]") -> str | None:
    """Say that a column's whole numbers are labels, since many of them are one number as floats; None else."""
    numbers = _long_numbers(values)
    if numbers is None or len(set(map(float, numbers))) > KEPT * len(numbers):
        return None
    one, other = next(pair for pair in pairwise(sorted(numbers)) if float(pair[0]) == float(pair[1]))
    return (
        f"column {values.name!r} holds whole numbers that differ only in digits that no float holds, such as {one} and "
        f'{other}: they are read as labels; to read them as quantities: numeric = ["{values.name}"] in [data]'
    )


def _long_numbers(values: "pd.Series[Any]") -> set[int] | None:
    """Return the different whole numbers of a column of numbers or of their texts, if one is beyond 2^53."""
    if values.dtype.kind in "iu":
        known = values.dropna()
        if not len(known) or max(abs(int(known.min())), abs(int(known.max()))) <= EXACT:
            return None
        return {int(value) for value in known.unique()}
    if values.dtype.kind != "O" and str(values.dtype) != "str":
        return None
    known = values.dropna()
    if not len(known) or not str(known.iloc[0]).strip().isdecimal():
        return None
    texts = list(map(str, known.unique()))
    are_digits = all(text.strip().isascii() and text.strip().isdecimal() for text in texts)
    return {int(text) for text in texts} if are_digits and any(map(_LONG.fullmatch, texts)) else None
