"""The texts of values: labels that are one, and the values that the study calls gaps.

It imports only modules that are stored with every registered model (`CARRIED` in `predictor.py`).
"""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from nightune.models.serving.number_texts import POINT, plain_number

if TYPE_CHECKING:
    import pandas as pd

MISSING = "missing"  # the text of gaps among the labels, unless a label has it
ISO_DATE = r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?"


def plain_values(values: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return a column in the machine's byte order and with its zeros, as pandas needs it; others unchanged."""
    import pandas as pd  # noqa: PLC0415 - half a second, only for tables

    dtype = values.dtype
    if hasattr(dtype, "fill_value"):  # sparse
        return pd.Series(np.asarray(values), index=values.index, name=values.name)
    if isinstance(dtype, np.dtype) and not dtype.isnative:
        return values.astype(dtype.newbyteorder("="))
    return values.astype(np.float64) if dtype == np.longdouble and dtype != np.float64 else values


def as_text(label: Any) -> str:
    """Convert one category to text; whole floats lose their fraction, and bytes that are no UTF-8 stay different."""
    if isinstance(label, float | np.floating) and float(label).is_integer():
        return str(int(label))
    return label.decode(errors="backslashreplace") if isinstance(label, bytes) else str(label)


def as_texts(values: "pd.Series[Any]", missing: str = MISSING) -> "pd.Series[Any]":
    """Convert categories to texts; 2, 2.0 and "2" are one category, as gaps turn integers into floats.

    ValueError for lists and arrays, masked values among them.
    """
    import pandas as pd  # noqa: PLC0415 - half a second, only for tables

    codes, labels = pd.factorize(values)  # -1 is missing
    held = next((label for label in labels if isinstance(label, np.ndarray | tuple)), None)
    if held is not None:
        raise ValueError(f"it holds {held!r}, which is no single value")
    texts = np.array([*(as_text(label) for label in labels), missing], dtype=object)
    return pd.Series(texts[codes], index=values.index, name=values.name, dtype=object)


def fold(text: str) -> str:
    """Return a label without what people do not mean by it: case and outer blanks."""
    return " ".join(text.split()).casefold()


def folded(texts: "pd.Series[Any]", labels: Sequence[str]) -> "pd.Series[Any]":
    """Replace texts that differ from one of the labels only in case or blanks by that label."""
    if not labels:
        return texts
    known = {fold(label): label for label in labels}
    return texts.map(lambda text: known.get(fold(text), text))


def without_gaps(values: "pd.Series[Any]", gaps: Sequence[str], form: str = POINT) -> "pd.Series[Any]":
    """Mask the values that are one of the gaps (see `are_gaps`); all others keep their type and precision."""
    is_gap = are_gaps(values, gaps, form)
    if not is_gap.any():
        return values
    if values.dtype.kind in "iu":  # as floats, long codes would lose digits
        values = values.astype("Int64" if values.dtype.kind == "i" else "UInt64")
    return values.mask(is_gap)


def are_gaps(values: "pd.Series[Any]", gaps: Sequence[str], form: str = POINT) -> np.ndarray:
    """Mark the values that are one of the gaps, (rows,): as text, number or date, whatever the column holds.

    Outer blanks of texts do not count; "-999" is -999 and -999.0, and "1900-01-01" the moment at which it begins.
    Gaps that are numbers are written like `form`.
    """
    import pandas as pd  # noqa: PLC0415 - half a second, only for tables

    if not gaps:
        return np.zeros(len(values), dtype=bool)
    numbers = {float(plain) for plain in (plain_number(gap, form) for gap in gaps) if plain is not None}
    if values.dtype.kind in "iuf":
        return values.isin(list(numbers)).to_numpy(dtype=bool)
    words = {gap.strip() for gap in gaps}
    if values.dtype != object and pd.api.types.is_string_dtype(values.dtype):
        return values.str.strip().isin(words).to_numpy(dtype=bool)
    moments = {seconds for seconds in map(moment_of, words) if seconds is not None}

    def is_gap(label: Any) -> bool:
        if as_text(label).strip() in words:
            return True
        if isinstance(label, int | float | np.integer | np.floating | Decimal) and not isinstance(label, bool):
            return float(label) in numbers
        return isinstance(label, date) and _seconds_of(label) in moments

    codes, labels = pd.factorize(values)  # -1 is missing
    return np.array([*map(is_gap, np.asarray(labels, dtype=object)), False], dtype=bool)[codes]


def moment_of(text: str) -> float | None:
    """Return the seconds since 1970 (UTC) of a date or time of ISO 8601; None for other texts."""
    if not re.fullmatch(ISO_DATE, text.strip()):
        return None
    try:
        return _seconds_of(text.strip())
    except ValueError:  # 31 February
        return None


def _seconds_of(moment: Any) -> float:
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    elif isinstance(moment, date) and not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    return float((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
