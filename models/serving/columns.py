"""Recognize the kind of a table's column, and convert its values to floats or texts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nightune.models.errors import InputError
from nightune.models.serving.date_texts import COMPACT, read_date
from nightune.models.serving.labels import (
    ISO_DATE,
    MISSING,
    as_text,
    as_texts,
    folded,
    moment_of,
    plain_values,
    without_gaps,
)
from nightune.models.serving.number_texts import COMMA, FORMS, POINT, is_placeholder, plain_number

if TYPE_CHECKING:
    import pandas as pd

NUMERIC = ("number", "date", "duration")  # standardized; dates and durations as seconds
CATEGORY = "category"
TEXT, CODE, IMAGE = "text", "code", "image"  # inputs of their own: indices of words, codes of labels, and pixels
HASHED, TARGET_ENCODED = "hashed", "target_encoded"  # labels that become other features than one for each
LABELS = (CATEGORY, HASHED, TARGET_ENCODED)
AS_TEXTS = (*LABELS, CODE, TEXT)  # kinds whose values are kept as texts
EXACT_FLOATS = 2**53  # up to here each whole number is a float

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


@dataclass(frozen=True)
class Column:
    """A column: its name, its type in the table (`dtype`), its kind.

    Kinds are number, boolean, date and duration; category, hashed and target_encoded, which are labels; and text, code
    and image, which are inputs of their own.

    The other fields say how its texts are read, and are empty where the table holds values of the kind. `form` is the
    way in which numbers or dates are written, `marks` are the signs and units taken off a number. Texts that differ
    from one of the `labels` only in case or outer blanks are that label. `gaps` are the texts, numbers and dates that
    stand for no value, in columns of every kind. `missing_label` is the text of gaps among the labels.
    """

    name: str
    dtype: str
    kind: str
    form: str = ""
    marks: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    missing_label: str = MISSING

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
        apart = {} if self.missing_label == MISSING else {"missing_label": self.missing_label}
        return {"name": self.name, "dtype": self.dtype, "kind": self.kind, **self.reading, **apart}

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
            f"column {values.name!r} holds {_held(values, inferred)}, which a network cannot read; "
            f'leave it out: drop = ["{values.name}"]',
        )
    return "date" if inferred == "string" and are_iso_dates(values.dropna()) else _KINDS[inferred]


def _held(values: "pd.Series[Any]", inferred: str) -> str:
    """Say what values a column holds."""
    known = values.dropna()
    several = known[[isinstance(value, list | tuple | dict | np.ndarray) for value in known]]
    if not len(several):
        return f"{inferred} values"
    example = " ".join(str(several.iloc[0]).split())[:40]
    return f"several values in a field, such as {example} (give each a column in the source)"


def clean_column(values: "pd.Series[Any]", column: Column) -> "pd.Series[Any]":
    """Convert values to float64 with NaN for missing ones, or to texts; InputError for values of another kind.

    Images stay what they are: paths, bytes of files or pixels.
    """
    if column.kind == IMAGE:
        return values.astype(object)
    _refuse_rounded(values, column)
    try:
        known = without_gaps(plain_values(values), column.gaps, _number_form(column))
        if column.kind in AS_TEXTS:
            return folded(as_texts(known, column.missing_label), column.labels)
        numbers: pd.Series[Any] = (_from_texts if column.form else _from_values)(known, column)
    except (ValueError, TypeError, OverflowError, NotImplementedError) as error:
        raise InputError("data.source", f"column {column.name!r} is no longer a {column.kind}: {error}") from error
    gaps = [number for number in (gap_number(gap, column) for gap in column.gaps) if number is not None]
    return numbers.where(np.isfinite(numbers) & ~numbers.isin(gaps))


def gap_number(gap: str, column: Column) -> float | None:
    """Return the number that a gap is in a column, written as the column's texts are; None if it is none."""
    import pandas as pd  # noqa: PLC0415 - half a second, only for tables

    if column.kind == "number":
        plain = plain_number(gap, _number_form(column), column.marks)
        return None if plain is None else float(plain)
    if column.kind == "date":
        read = None if column.form in USUAL_FORMS else read_date(gap, column.form)
        return moment_of(gap) if read is None else read
    if column.kind == "duration" and plain_number(gap, POINT) is None:
        span = float(pd.to_timedelta(pd.Series([gap]), errors="coerce").dt.total_seconds().iloc[0])
        return None if np.isnan(span) else span
    return None


def _number_form(column: Column) -> str:
    return column.form if column.form in FORMS else POINT


def are_missing(cleaned: "pd.Series[Any]", column: Column) -> "pd.Series[Any]":
    """Mark the missing values in a cleaned column."""
    return cleaned == column.missing_label if column.kind in AS_TEXTS else cleaned.isna()


def _refuse_rounded(values: "pd.Series[Any]", column: Column) -> None:
    """Refuse floats as labels of many values where they no longer hold every digit of a whole number."""
    if column.kind not in (CODE, HASHED, TARGET_ENCODED) or values.dtype.kind not in "fO":
        return
    floats = values if values.dtype.kind == "f" else values[values.map(lambda value: isinstance(value, float))]
    numbers = floats.astype(np.float64)
    rounded = numbers[np.isfinite(numbers) & (numbers.abs() > EXACT_FLOATS)]
    if len(rounded):
        raise InputError(
            "data.source",
            f"column {column.name!r} holds floats such as {rounded.iloc[0]:.17g}, which do not keep every digit of "
            f'a code; store it as texts, and read it with dtype={{"{column.name}": str}}',
        )


def are_iso_dates(known: "pd.Series[Any]") -> bool:
    """True if all texts are dates or times of ISO 8601."""
    import pandas as pd  # noqa: PLC0415 - half a second, only for tables

    distinct = known.drop_duplicates()
    if not distinct.str.fullmatch(ISO_DATE).all():
        return False
    return bool(pd.to_datetime(distinct, utc=True, format="ISO8601", errors="coerce").notna().all())


def _from_values(values: "pd.Series[Any]", column: Column) -> Any:
    """Convert values of the column's kind; texts of them, as rows are sent in, are read as Python writes them."""
    import pandas as pd  # noqa: PLC0415 - half a second, only for tables

    if column.kind in ("date", "duration"):
        _refuse_numbers(values, column)
        if column.kind == "duration":
            return pd.to_timedelta(values).dt.total_seconds()
        return _seconds(pd.to_datetime(values, utc=True, format=None if values.dtype.kind == "M" else "ISO8601"))
    if values.dtype.kind == "c":
        raise ValueError("it holds complex numbers")
    if not pd.api.types.is_numeric_dtype(values.dtype):
        values = values.astype(object).where(values.notna(), np.nan).map(_number_of(column))
    numbers = values.astype(np.float64)
    other = numbers[~numbers.isin([0, 1]) & numbers.notna()]
    if column.kind == "boolean" and len(other):
        raise ValueError(f"it holds {other.iloc[0]:.15g}, and was true or false")
    return numbers


def _number_of(column: Column) -> Callable[[Any], Any]:
    def number_of(value: Any) -> Any:
        if not isinstance(value, str | bytes):
            return value
        text = as_text(value)
        if "_" in text:  # Python reads 1_000 as a number
            raise ValueError(f"it holds {text!r}")
        return TRUTHS.get(text.lower(), text) if column.kind == "boolean" else text

    return number_of


def _refuse_numbers(values: "pd.Series[Any]", column: Column) -> None:
    """Refuse numbers in a column of dates or time spans: their unit and their zero are unknown."""
    held = () if values.dtype.kind in "mM" else values.dropna().unique()
    for value in np.asarray(held, dtype=object):  # pandas' own texts take long to walk
        if isinstance(value, int | float | np.number) or (isinstance(value, str) and value.strip().isdigit()):
            form = "texts like 2026-01-31" if column.kind == "date" else "time spans like '1 days 02:00:00'"
            raise ValueError(f"it holds the number {as_text(value)}; send {form}, or values of that type")


def _seconds(moments: Any) -> Any:
    import pandas as pd  # noqa: PLC0415 - half a second, only for tables

    start = pd.Timestamp(0, tz="UTC")
    try:
        return (moments - start) / pd.Timedelta(seconds=1)
    except pd.errors.OutOfBoundsDatetime:  # 9999-12-31 is too far for nanoseconds
        return (moments - start.as_unit("s")).dt.total_seconds()


def _from_texts(values: "pd.Series[Any]", column: Column) -> Any:
    """Read each distinct text once, and take values of the kind as they are."""
    import pandas as pd  # noqa: PLC0415 - half a second, only for tables

    has_numbers = pd.api.types.is_numeric_dtype(values.dtype)
    if has_numbers and column.form == COMMA and values.notna().any():
        raise ValueError(
            f"its texts are written like {COMMA}, and were read as numbers with a decimal point before they came here; "
            f'read it with dtype={{"{column.name}": str}}'
        )
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
