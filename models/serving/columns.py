"""Recognize the kind of a table's column, and convert its values to floats or texts."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nightune.models.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

NUMERIC = ("number", "date", "duration")  # standardized; dates and durations as seconds
CATEGORY = "category"
MISSING = "missing"

_KINDS = {
    "boolean": "boolean",
    "integer": "number",
    "floating": "number",
    "mixed-integer-float": "number",
    "decimal": "number",
    "empty": "number",
    "datetime": "date",
    "datetime64": "date",
    "date": "date",
    "timedelta": "duration",
    "timedelta64": "duration",
    "string": CATEGORY,
    "bytes": CATEGORY,
    "categorical": CATEGORY,
    "mixed": CATEGORY,
    "mixed-integer": CATEGORY,
}
_ISO_DATE = r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?"


@dataclass(frozen=True)
class Column:
    """A column: its name, its type in the table (`dtype`), its kind (number, boolean, date, duration or category)."""

    name: str
    dtype: str
    kind: str


def kind_of(values: "pd.Series[Any]", is_category: bool) -> tuple[Column, list[str]]:
    """Return a column with its recognized kind, and remarks on unexpected values."""
    import pandas as pd  # noqa: PLC0415 - half a second, only for tables

    name, dtype = str(values.name), str(values.dtype)
    if is_category:
        return Column(name, dtype, CATEGORY), []
    inferred = pd.api.types.infer_dtype(values, skipna=True)
    if inferred not in _KINDS or (inferred.startswith("mixed") and not values.dropna().map(np.isscalar).all()):
        raise InputError(
            "data.source",
            f'column {name!r} holds {inferred} values, which a network cannot read; leave it out: drop = ["{name}"]',
        )
    kind = _KINDS[inferred]
    remarks = []
    if kind == "number":
        infinite = int(np.isinf(values.astype(np.float64)).sum())
        if infinite:
            remarks.append(f"column {name!r}: {infinite} infinite values are read as missing")
    elif inferred == "string" and _are_dates(values):
        kind = "date"
    elif inferred in ("string", "mixed", "mixed-integer"):
        remarks += _texts_among_numbers(values)
    return Column(name, dtype, kind), remarks


def clean_column(values: "pd.Series[Any]", column: Column) -> "pd.Series[Any]":
    """Convert values to float64 with NaN for missing ones, or to texts."""
    import pandas as pd  # noqa: PLC0415 - half a second, only for tables

    if column.kind == CATEGORY:
        return as_texts(values)
    try:
        if column.kind == "date":
            moments = pd.to_datetime(values, utc=True, format=None if values.dtype.kind == "M" else "ISO8601")
            return (moments - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)
        if column.kind == "duration":
            return pd.to_timedelta(values).dt.total_seconds()
        numbers = values.astype(np.float64)
    except (ValueError, TypeError) as error:
        raise InputError("data.source", f"column {column.name!r} is no longer a {column.kind}: {error}") from error
    return numbers.where(np.isfinite(numbers))


def missing_share(cleaned: "pd.Series[Any]") -> float:
    """Return the share of missing values in a cleaned column."""
    is_missing = cleaned.isna() if cleaned.dtype.kind == "f" else cleaned == MISSING
    return float(is_missing.mean())


def as_texts(values: "pd.Series[Any]") -> "pd.Series[Any]":
    """Convert categories to texts; 2, 2.0 and "2" are one category, as gaps turn integers into floats."""
    import pandas as pd  # noqa: PLC0415 - half a second, only for tables

    codes, labels = pd.factorize(values)  # -1 is missing
    texts = np.array([*(as_text(label) for label in labels), MISSING], dtype=object)
    return pd.Series(texts[codes], index=values.index, name=values.name, dtype=object)


def as_text(label: Any) -> str:
    """Convert one category to text; whole floats lose their fraction."""
    if isinstance(label, float | np.floating) and float(label).is_integer():
        return str(int(label))
    return label.decode(errors="replace") if isinstance(label, bytes) else str(label)


def _are_dates(values: "pd.Series[Any]") -> bool:
    import pandas as pd  # noqa: PLC0415 - half a second, only for tables

    known = values.dropna().drop_duplicates()
    if not known.str.fullmatch(_ISO_DATE).all():
        return False
    return bool(pd.to_datetime(known, utc=True, format="ISO8601", errors="coerce").notna().all())


def _texts_among_numbers(values: "pd.Series[Any]") -> list[str]:
    import pandas as pd  # noqa: PLC0415 - half a second, only for tables

    known = values.dropna()
    texts = known[pd.to_numeric(known, errors="coerce").isna()]
    if not 0 < len(texts) <= 0.1 * len(known):
        return []
    return [
        f"column {values.name!r}: {len(texts)} texts such as {texts.iloc[0]!r} among "
        f"{len(known) - len(texts)} numbers; the column is read as categories: correct these texts, or leave them empty"
    ]
