"""Columns of whole numbers that keep every digit, where pandas would make floats of those with gaps."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nightune.models.data.columns.long_numbers import EXACT

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_INT64, _UINT64 = range(-(2**63), 2**63), range(2**64)


def column_of(values: Sequence[Any]) -> "pd.Series[Any]":
    """Return values as a column; None is a gap.

    Whole numbers beyond 2^53 among gaps keep their digits, and those beyond 64 bits become texts.
    """
    import pandas as pd  # noqa: PLC0415 - half a second, only for tables

    known = [value for value in values if value is not None]
    if not known or not all(type(value) is int for value in known):
        are_large = any(type(value) is int and abs(value) > EXACT for value in known)
        return pd.Series(list(values), dtype=object if are_large else None)
    low, high = min(known), max(known)
    if low not in _INT64 or (high not in _INT64 and (low < 0 or high not in _UINT64)):
        return pd.Series([None if value is None else str(value) for value in values], dtype=object)
    if len(known) == len(values) or max(-low, high) <= EXACT:
        return pd.Series(list(values))
    return pd.Series(list(values), dtype="Int64" if high in _INT64 else "UInt64")


def keep_digits(frame: "pd.DataFrame", table: "pa.Table") -> "pd.DataFrame":
    """Replace the columns of a frame that are floats for whole numbers beyond 2^53 in the table of Arrow."""
    from pyarrow import compute, types  # noqa: PLC0415 - only for Parquet and Arrow

    exact = {}
    for name in table.column_names:
        column = table.column(name)
        if not types.is_integer(column.type) or name not in frame.columns or frame[name].dtype.kind != "f":
            continue
        ends = compute.min_max(column).as_py()
        if ends["max"] is not None and max(abs(ends["min"]), abs(ends["max"])) > EXACT:
            exact[name] = column_of(column.to_pylist()).set_axis(frame.index)
    return frame.assign(**exact) if exact else frame
