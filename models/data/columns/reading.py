"""How the texts of a column are read, and what is said about it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nightune.models.errors import InputError
from nightune.models.serving.labels import are_gaps, as_text
from nightune.models.serving.number_texts import PLACEHOLDERS, is_placeholder
from nightune.vocabulary import unknown_name

if TYPE_CHECKING:
    import pandas as pd

FEWEST_READABLE = 0.95  # of the fields that are no gap: a column of which more is readable is of that kind
SAMPLE = 500  # of the different texts, to leave out at once what cannot be of a kind
FEWEST_OF_SAMPLE = 0.8
SETTLED_BY = "settle it with"  # in remarks about texts that can be read in two ways
MOST_OTHER_TEXTS = 50  # different texts that are no values of the kind


@dataclass(frozen=True)
class Choices:
    """What the study says about the columns of a table; forms are empty where only the kind is given."""

    missing: tuple[str, ...] = ()
    numeric: Mapping[str, str] = field(default_factory=dict)
    dates: Mapping[str, str] = field(default_factory=dict)
    categorical: tuple[str, ...] = ()
    text: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # words and length of each column
    codes: Mapping[str, int] = field(default_factory=dict)  # the number of codes of each column; 0: as many as labels
    images: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)  # height, width and channels
    hashed: Mapping[str, int] = field(default_factory=dict)  # the number of features of each column
    target_encoded: tuple[str, ...] = ()
    date_parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # (): those that vary

    def of_features(self, others: Iterable[str | None]) -> "Choices":
        """Leave out the columns that are no features: the target and that of the split."""
        apart = set(others)
        numeric, dates = (
            {name: form for name, form in given.items() if name not in apart} for given in (self.numeric, self.dates)
        )
        categorical = tuple(name for name in self.categorical if name not in apart)
        return replace(self, numeric=numeric, dates=dates, categorical=categorical)

    def refuse_unknown(self, known: Sequence[str]) -> None:
        """Refuse names of columns that the table does not have, and a column with two kinds."""
        keys: dict[str, Iterable[str]] = {
            "categorical": self.categorical,
            "numeric": self.numeric,
            "dates": self.dates,
            "text": self.text,
            "codes": self.codes,
            "images": self.images,
            "hashed": self.hashed,
            "target_encoded": self.target_encoded,
        }
        for name in self.date_parts:
            if name not in known:
                raise InputError("data.date_parts", unknown_name(name, known, "feature column"))
        for key, names in keys.items():
            for name in names:
                if name not in known:
                    raise InputError(f"data.{key}", unknown_name(name, known, "feature column"))
                other = next((each for each, given in keys.items() if _differ(each, key) and name in given), None)
                if other:
                    raise InputError(f"data.{key}", f"{name!r} is also in data.{other}; a column is of one kind")


def _differ(key: str, other: str) -> bool:
    """True for keys that give a column two kinds: labels that are hashed or encoded may be exact ones."""
    are_labels = "categorical" in (key, other) and {key, other} & {"hashed", "target_encoded"}
    return key != other and not are_labels


@dataclass(frozen=True)
class Reading:
    """A kind of column with the form, signs and gaps of its texts (see Column), and remarks about them."""

    kind: str
    form: str
    marks: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Texts:
    """The different texts of a column with their numbers of rows, without those that the study calls missing."""

    name: str
    rows: Mapping[str, int]
    number_rows: int = 0  # rows that hold numbers, not texts
    missing: tuple[str, ...] = ()
    missing_rows: int = 0

    @classmethod
    def of(cls, values: "pd.Series[Any]", missing: Sequence[str]) -> "Texts":
        """Count the texts of a column."""
        is_gap = are_gaps(values, missing)
        (rows, numbers), (texts, stated_numbers) = _counted(values[~is_gap]), _counted(values[is_gap])
        stated = tuple(dict.fromkeys((*texts, *stated_numbers)))
        stated_rows = sum(texts.values()) + sum(stated_numbers.values())
        return cls(str(values.name), rows, sum(numbers.values()), stated, stated_rows)

    @cached_property
    def placeholders(self) -> dict[str, int]:
        """The texts that stand for no value, with their rows."""
        return {text: count for text, count in self.rows.items() if is_placeholder(text)}

    @cached_property
    def values(self) -> dict[str, int]:
        """The texts that are no placeholders, with their rows."""
        return {text: count for text, count in self.rows.items() if not is_placeholder(text)}

    @cached_property
    def sample(self) -> list[str]:
        """Some of the values, spread over the column."""
        values = list(self.values)
        return values[:: max(1, len(values) // SAMPLE)]

    def may_be(self, read: Sequence[object]) -> bool:
        """False if too many of the sample could not be read (None) for a column with few other texts."""
        is_whole = len(self.sample) == len(self.values)
        return is_whole or sum(each is not None for each in read) >= FEWEST_OF_SAMPLE * len(read)

    def others(self, read: Mapping[str, Any]) -> dict[str, int] | None:
        """The few values that could not be read; None if too many could not, or none could be read."""
        values = self.values
        others = {text: count for text, count in values.items() if read.get(text) is None}
        known = sum(values.values()) + self.number_rows
        readable = known - sum(others.values())
        too_many = readable < FEWEST_READABLE * known or len(others) > MOST_OTHER_TEXTS
        return None if too_many or len(others) == len(values) + bool(self.number_rows) else others

    def gap_remark(self, others: Mapping[str, int], are_placeholders: bool = True) -> str:
        """Say how many fields hold no value, and what they hold."""
        placeholders = self.placeholders if are_placeholders else {}
        texts = [*self.missing, *placeholders, *others]
        if not texts:
            return ""
        count = self.missing_rows + sum(placeholders.values()) + sum(others.values())
        return f"{fields(count)} ({quoted(texts)}) read as missing"


def _counted(values: "pd.Series[Any]") -> tuple[dict[str, int], dict[str, int]]:
    """Count the rows of each text, and those of each other value by its text."""
    texts: dict[str, int] = {}
    others: dict[str, int] = {}
    for value, count in values.value_counts().items():
        if count:  # categories that no row has
            counts, text = texts if isinstance(value, str | bytes) else others, as_text(value)
            counts[text] = counts.get(text, 0) + int(count)
    return texts, others


def quoted(texts: Iterable[str], most: int = 3) -> str:
    """List some texts in quotes."""
    listed = list(texts)
    return ", ".join(map(repr, listed[:most])) + (f" and {len(listed) - most} more" if len(listed) > most else "")


def is_separated(text: str, digits: int = 1) -> bool:
    """True for numbers with a separator before so many digits, as amounts are written."""
    return re.search(rf"\d[,.'’\s]\d{{{digits}}}", text) is not None


def shortened(text: str, most: int) -> str:
    """Return a text of at most so many characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def fields(count: int) -> str:
    """Count fields in words."""
    return "1 field" if count == 1 else f"{count} fields"


def looks_like_a_gap(text: str) -> bool:
    """True for the words that other programs read as a gap, such as NA, None and null."""
    return text.strip().lower() in PLACEHOLDERS and text.strip() != ""
