"""Recognize the kind of a table's column, and convert its values to floats or texts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nightune.models.errors import InputError
from nightune.models.serving.date_texts import COMPACT, read_date
from nightune.models.serving.number_texts import POINT, is_placeholder, plain_number

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
ISO = "YYYY-MM-DD"  # the form of dates and times of ISO 8601
USUAL_FORMS = ("", POINT, ISO, "true")
TRUTHS = {"true": True, "false": False}
_ISO_DATE = r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?"


@dataclass(frozen=True)
class Column:
    """A column: its name, its type in the table (`dtype`), its kind (number, boolean, date, duration or category).

    The other fields say how its texts are read, and are empty where the table holds values of the kind. `form` is the
    way in which numbers or dates are written, `marks` are the signs and units taken off a number, `gaps` the texts that
    stand for no value. Texts that differ from one of the `labels` only in case or outer blanks are that label.
    """

    name: str
    dtype: str
    kind: str
    form: str = ""
    marks: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Column":
        """Restore a column from `plain`."""
        fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in plain.items()}
        return cls(**fields)

    @property
    def is_plain(self) -> bool:
        """True if texts, if any, are read as other readers of tables do."""
        return self.form in USUAL_FORMS and not (self.marks or self.gaps or self.labels)

    @property
    def plain(self) -> dict[str, Any]:
        """The fields as plain values, without the empty ones among those that say how texts are read."""
        return {"name": self.name, "dtype": self.dtype, "kind": self.kind, **self.reading}

    @property
    def reading(self) -> dict[str, Any]:
        """How texts are read; empty if the table holds values of the kind."""
        given = {name: asdict(self)[name] for name in ("form", "marks", "gaps", "labels")}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in given.items() if value}


def kind_of_values(values: "pd.Series[Any]") -> str:
    """Recognize the kind of a column by the types of its values; InputError for values that a network cannot read."""
    import pandas as pd  # noqa: PLC0415 - half a second, only for tables

    inferred = pd.api.types.infer_dtype(values, skipna=True)
    if inferred not in _KINDS or (inferred.startswith("mixed") and not values.dropna().map(np.isscalar).all()):
        raise InputError(
            "data.source",
            f"column {values.name!r} holds {inferred} values, which a network cannot read; "
            f'leave it out: drop = ["{values.name}"]',
        )
    return "date" if inferred == "string" and are_iso_dates(values.dropna()) else _KINDS[inferred]


def clean_column(values: "pd.Series[Any]", column: Column) -> "pd.Series[Any]":
    """Convert values to float64 with NaN for missing ones, or to texts."""
    if column.kind == CATEGORY:
        return _folded(as_texts(_without_gaps(values, column.gaps)), column.labels)
    try:
        numbers: pd.Series[Any] = (_from_texts if column.form else _from_values)(values, column)
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError("data.source", f"column {column.name!r} is no longer a {column.kind}: {error}") from error
    if column.kind in ("date", "duration"):
        return numbers
    return numbers.where(np.isfinite(numbers) & ~numbers.isin(_sentinels(column.gaps)))


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


def are_iso_dates(known: "pd.Series[Any]") -> bool:
    """True if all texts are dates or times of ISO 8601."""
    import pandas as pd  # noqa: PLC0415 - half a second, only for tables

    distinct = known.drop_duplicates()
    if not distinct.str.fullmatch(_ISO_DATE).all():
        return False
    return bool(pd.to_datetime(distinct, utc=True, format="ISO8601", errors="coerce").notna().all())


def fold(text: str) -> str:
    """Return a label without what people do not mean by it: case and outer blanks."""
    return " ".join(text.split()).casefold()


def _from_values(values: "pd.Series[Any]", column: Column) -> Any:
    import pandas as pd  # noqa: PLC0415 - half a second, only for tables

    if column.kind == "date":
        return _seconds(pd.to_datetime(values, utc=True, format=None if values.dtype.kind == "M" else "ISO8601"))
    if column.kind == "duration":
        return pd.to_timedelta(values).dt.total_seconds()
    if column.kind == "boolean" and not pd.api.types.is_numeric_dtype(values.dtype):  # rows may be sent as texts
        values = values.map(lambda value: TRUTHS.get(value.lower(), value) if isinstance(value, str) else value)
    return values.astype(np.float64)


def _seconds(moments: Any) -> Any:
    import pandas as pd  # noqa: PLC0415 - half a second, only for tables

    return (moments - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)


def _from_texts(values: "pd.Series[Any]", column: Column) -> Any:
    """Read each distinct text once, and take values of the kind as they are."""
    import pandas as pd  # noqa: PLC0415 - half a second, only for tables

    has_numbers = pd.api.types.is_numeric_dtype(values.dtype)
    if values.dtype.kind == "M" or (has_numbers and column.form != COMPACT):
        return _from_values(values, column)
    codes, distinct = pd.factorize(values)  # -1 is missing
    is_text = (str, bytes, int, float, np.number) if column.form == COMPACT else (str, bytes)
    labels = [as_text(label) if isinstance(label, is_text) else label for label in distinct]
    is_gap = [isinstance(label, str) and is_placeholder(label, column.gaps) for label in labels]
    read = READERS[column.kind]([label for label, gap in zip(labels, is_gap, strict=True) if not gap], column)
    known = np.full(len(labels) + 1, np.nan)
    known[:-1][~np.array(is_gap, dtype=bool)] = read
    return pd.Series(known[codes], index=values.index, name=values.name)


def _read_numbers(labels: Sequence[Any], column: Column) -> np.ndarray:
    import pandas as pd  # noqa: PLC0415 - half a second, only for tables

    plain = [plain_number(label, column.form, column.marks) if isinstance(label, str) else label for label in labels]
    _refuse_unread(labels, plain, column)
    return np.asarray(pd.to_numeric(pd.Series(plain, dtype=object)), dtype=np.float64)


def _read_dates(labels: Sequence[Any], column: Column) -> np.ndarray:
    import pandas as pd  # noqa: PLC0415 - half a second, only for tables

    if column.form == ISO or not all(isinstance(label, str) for label in labels):
        return np.asarray(_seconds(pd.to_datetime(pd.Series(labels, dtype=object), utc=True, format="ISO8601")))
    read = [read_date(label, column.form) for label in labels]
    _refuse_unread(labels, read, column)
    return np.array(read, dtype=np.float64)


def _read_truths(labels: Sequence[Any], column: Column) -> np.ndarray:
    read = [TRUTHS.get(label.strip().lower()) if isinstance(label, str) else label for label in labels]
    _refuse_unread(labels, read, column)
    return np.array(read, dtype=np.float64)


READERS: dict[str, Callable[[Sequence[Any], Column], np.ndarray]] = {
    "number": _read_numbers,
    "date": _read_dates,
    "boolean": _read_truths,
}


def _refuse_unread(labels: Sequence[Any], read: Sequence[Any], column: Column) -> None:
    unread = [label for label, value in zip(labels, read, strict=True) if value is None]
    if unread:
        marks = f" with {', '.join(map(repr, column.marks))}" if column.marks else ""
        raise ValueError(f"it holds {unread[0]!r}, and was written like {column.form}{marks}")


def _without_gaps(values: "pd.Series[Any]", gaps: Sequence[str]) -> "pd.Series[Any]":
    if not gaps:
        return values
    return values.mask(values.map(lambda value: not _is_missing(value) and as_text(value).strip() in gaps))


def _is_missing(value: Any) -> bool:
    import pandas as pd  # noqa: PLC0415 - half a second, only for tables

    return bool(pd.isna(value))


def _sentinels(gaps: Sequence[str]) -> list[float]:
    """The gaps that are numbers, such as -999."""
    plain = [plain_number(gap, POINT) for gap in gaps]
    return [float(text) for text in plain if text is not None]


def _folded(texts: "pd.Series[Any]", labels: Sequence[str]) -> "pd.Series[Any]":
    if not labels:
        return texts
    known = {fold(label): label for label in labels}
    return texts.map(lambda text: known.get(fold(text), text))
