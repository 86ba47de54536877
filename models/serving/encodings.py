"""Features of columns that the study names: parts of dates, hashed labels, and labels as means of the target.

It imports only modules that are stored with every registered model (`CARRIED` in `predictor.py`).
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

DAY = 86400  # seconds
THURSDAY = 3  # days since Monday, of 1970-01-01


@dataclass(frozen=True)
class DateParts:
    """The parts of a column of dates, and the moment (seconds since 1970, UTC) that replaces missing ones.

    `mean` and `scale` standardize the year; all other parts are points of a circle.
    """

    parts: tuple[str, ...]
    median: float
    mean: float
    scale: float

    @property
    def names(self) -> list[str]:
        """What each feature is."""
        return [name for part in self.parts for name in ([part] if part == "year" else [f"{part} sin", f"{part} cos"])]

    def features(self, seconds: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the features of each moment, float64 (rows,)."""
        moments = np.where(np.isnan(seconds), self.median, seconds)
        for part in self.parts:
            if part == "year":
                yield (year_of(moments) - self.mean) / self.scale
            else:
                turn = 2 * np.pi * TURNS[part](moments)
                yield np.sin(turn)
                yield np.cos(turn)


def year_of(seconds: np.ndarray) -> np.ndarray:
    """Return the year of moments, float64."""
    return _in_units(seconds, "Y") + 1970.0


def _in_units(seconds: np.ndarray, unit: str) -> np.ndarray:
    """Return whole units of time since 1970, float64."""
    whole: np.ndarray = np.floor(seconds).astype("datetime64[s]").astype(f"datetime64[{unit}]")
    return np.asarray(whole.astype(np.int64), dtype=np.float64)


def _day_of_month(seconds: np.ndarray) -> np.ndarray:
    days: np.ndarray = np.floor(seconds).astype("datetime64[s]").astype("datetime64[D]")
    first: np.ndarray = days.astype("datetime64[M]").astype("datetime64[D]")
    return np.asarray((days - first).astype(np.int64), dtype=np.float64)


# The share of a turn that a moment has made: January, the first, Monday and midnight are 0.
TURNS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "month": lambda seconds: np.mod(_in_units(seconds, "M"), 12) / 12,
    "day": lambda seconds: _day_of_month(seconds) / 31,
    "weekday": lambda seconds: np.mod(_in_units(seconds, "D") + THURSDAY, 7) / 7,
    "hour": lambda seconds: np.mod(seconds, DAY) / DAY,
}


@dataclass(frozen=True)
class Hashed:
    """The number of features that labels share by a hash (Weinberger et al., 2009).

    `lost` are labels of the training rows that a number would not keep, such as 007.
    """

    size: int
    lost: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """What each feature is."""
        return [f"hash {place}" for place in range(self.size)]

    def features(self, labels: np.ndarray) -> Iterator[np.ndarray]:
        """Yield 1 for the labels of each place, float64 (rows,)."""
        of_label = {label: hashed_place(label, self.size) for label in set(labels.tolist())}
        places = np.array([of_label[label] for label in labels.tolist()], dtype=np.int64)
        for place in range(self.size):
            yield (places == place).astype(np.float64)


def hashed_place(label: str, size: int) -> int:
    """Return the place of a label, equal on every machine."""
    digest = hashlib.blake2b(label.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") % size


@dataclass(frozen=True)
class TargetEncoding:
    """The mean of the target for each label of the training rows, drawn to the mean of all rows (`usual`).

    There is one mean for each of several classes: `means` are (labels, classes). `mean` and `scale` standardize them.
    """

    known: tuple[str, ...]
    means: tuple[tuple[float, ...], ...]
    usual: tuple[float, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]

    @property
    def names(self) -> list[str]:
        """What each feature is."""
        count = len(self.usual)
        return ["target mean"] if count == 1 else [f"mean of class {place}" for place in range(count)]

    def features(self, labels: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the standardized means of each label, float64 (rows,); unknown labels have the mean of all rows."""
        of_label = np.array([self._means.get(label, self.usual) for label in labels.tolist()], dtype=np.float64)
        yield from self.standardized(of_label.reshape(-1, len(self.usual))).T

    def standardized(self, means: np.ndarray) -> np.ndarray:
        """Return means (rows, classes) less their mean, divided by their scale."""
        values: np.ndarray = (means - np.array(self.mean)) / np.array(self.scale)
        return values

    @cached_property
    def _means(self) -> dict[str, tuple[float, ...]]:
        return dict(zip(self.known, self.means, strict=True))


@dataclass(frozen=True)
class Encodings:
    """The columns that the study names, by what becomes of them. Those of target means come last among the features."""

    date_parts: Mapping[str, DateParts] = field(default_factory=dict)
    hashed: Mapping[str, Hashed] = field(default_factory=dict)
    target_encoded: Mapping[str, TargetEncoding] = field(default_factory=dict)

    @property
    def keys(self) -> list[tuple[str, str]]:
        """The column of each feature, and what of it the feature is."""
        return [(column, name) for column, fitted in self._fitted() for name in fitted.names]

    @property
    def feature_names(self) -> list[str]:
        """The names of the features in their order."""
        return [f"{column} {name}" for column, name in self.keys]

    def features(self, cleaned: "pd.DataFrame") -> list[np.ndarray]:
        """Return the features of cleaned rows, each float64 (rows,)."""
        return [each for column, fitted in self._fitted() for each in fitted.features(cleaned[column].to_numpy())]

    @property
    def plain(self) -> dict[str, Any]:
        """The fitted values as plain values, without kinds that no column has."""
        return {name: value for name, value in asdict(self).items() if value}

    @property
    def texts_only(self) -> dict[str, tuple[str, ...]]:
        """The labels of each column among which some may be texts that a number would not keep."""
        hashed = {name: fitted.lost for name, fitted in self.hashed.items()}
        return {**hashed, **{name: fitted.known for name, fitted in self.target_encoded.items()}}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Encodings":
        """Restore what `plain` returned, through JSON or not."""

        def restored(kind: Any, name: str) -> dict[str, Any]:
            held = plain.get(name, {})
            values = {column: {key: _tuples(value) for key, value in each.items()} for column, each in held.items()}
            return {column: kind(**each) for column, each in values.items()}

        return cls(
            restored(DateParts, "date_parts"), restored(Hashed, "hashed"), restored(TargetEncoding, "target_encoded")
        )

    def _fitted(self) -> Iterator[tuple[str, DateParts | Hashed | TargetEncoding]]:
        yield from self.date_parts.items()
        yield from self.hashed.items()
        yield from self.target_encoded.items()


def _tuples(value: Any) -> Any:
    return tuple(_tuples(each) for each in value) if isinstance(value, list | tuple) else value
