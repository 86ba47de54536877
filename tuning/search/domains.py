"""Domains, the values that a param can have: a range, a choice, or one of these for each value of another param."""

import math
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Literal, get_args

from nightune.tuning.trial import Value
from nightune.vocabulary import unknown_name

Scale = Literal["linear", "log"]
SCALES: tuple[str, ...] = get_args(Scale)
LIMIT_STEPS = 10_000


def is_same(value: Value, other: Value) -> bool:
    """True if the values are equal and a boolean is not compared with a number (in Python 1 == True)."""
    return value == other and isinstance(value, bool) == isinstance(other, bool)


def is_among(value: Value, values: Iterable[Value]) -> bool:
    """True if one of the values is the same."""
    return any(is_same(value, other) for other in values)


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, both included. `steps` is the number of grid points; random draws ignore it."""

    low: int | float
    high: int | float
    scale: Scale = "linear"
    integer: bool = False
    steps: int | None = None

    def __post_init__(self) -> None:
        problems = range_problems(self.low, self.high, self.scale, self.integer, self.steps)
        if problems:
            raise ValueError("; ".join(problems))

    def __str__(self) -> str:
        words = [f"{self.low:g} to {self.high:g}"]
        words += ["log"] if self.scale == "log" else []
        words += ["whole numbers"] if self.integer else []
        words += [f"{self.steps} steps"] if self.steps else []
        return ", ".join(words)

    @property
    def is_fixed(self) -> bool:
        """False: low is below high."""
        return False

    @property
    def points(self) -> tuple[Value, ...]:
        """The grid points, ascending, ends included, without duplicates after rounding to whole numbers."""
        if self.steps is None:
            raise ValueError("a range without steps has no grid")
        inner = (self._at(step / (self.steps - 1)) for step in range(1, self.steps - 1))
        rounded = (round(number) if self.integer else _rounded(number) for number in inner)
        ends = (self.low, self.high) if self.integer else (float(self.low), float(self.high))
        clipped = (min(max(number, ends[0]), ends[1]) for number in rounded)
        return tuple(dict.fromkeys([ends[0], *clipped, ends[1]]))

    def from_unit(self, unit: float) -> Value:
        """Map a position in [0, 1) to a value: uniform in the value or its logarithm, unbiased for whole numbers."""
        if not self.integer:
            return min(max(_rounded(self._at(unit)), float(self.low)), float(self.high))
        if self.scale == "linear":
            count = int(self.high) - int(self.low) + 1
            return int(self.low) + min(int(unit * count), count - 1)
        # The bin of each whole number n is log(n − 0.5) to log(n + 0.5).
        low, high = math.log(self.low - 0.5), math.log(self.high + 0.5)
        return min(max(round(math.exp(low + unit * (high - low))), int(self.low)), int(self.high))

    def to_unit(self, value: Value) -> float:
        """Map a value to its position in [0, 1]: the inverse of `from_unit`, up to rounding."""
        assert isinstance(value, int | float)
        if not self.integer:
            low, high, at = (_scaled(number, self.scale) for number in (self.low, self.high, value))
            return (at - low) / (high - low) if low < high else 0.0  # the logarithms of two close ends can be equal
        if self.scale == "linear":
            return (value - self.low + 0.5) / (self.high - self.low + 1)
        low, high = math.log(self.low - 0.5), math.log(self.high + 0.5)
        return (math.log(value) - low) / (high - low)

    def under(self, params: Mapping[str, Value]) -> "Range":
        """Return this domain, which does not depend on other params."""
        return self

    def contains(self, value: Value) -> bool:
        """True if the value lies in the range and is whole where whole numbers are required."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return self.low <= value <= self.high and (not self.integer or float(value).is_integer())

    def _at(self, unit: float) -> float:
        if self.scale == "log":
            low, high = math.log(self.low), math.log(self.high)
            return math.exp(low + unit * (high - low))
        return self.low * (1.0 - unit) + self.high * unit


@dataclass(frozen=True)
class Choice:
    """One of several options; a single option is a fixed value."""

    options: tuple[Value, ...]

    def __post_init__(self) -> None:
        if not self.options:
            raise ValueError("a choice without options")
        twice = [option for place, option in enumerate(self.options) if is_among(option, self.options[:place])]
        if twice:
            raise ValueError(f"the option {twice[0]!r} is given twice")

    def __str__(self) -> str:
        return ", ".join(map(_text, self.options))

    @property
    def is_fixed(self) -> bool:
        """True if there is a single option."""
        return len(self.options) == 1

    @property
    def points(self) -> tuple[Value, ...]:
        """The options, in their order."""
        return self.options

    def from_unit(self, unit: float) -> Value:
        """Map a position in [0, 1) to an option, all equally likely; lists are copied."""
        return deepcopy(self.options[min(int(unit * len(self.options)), len(self.options) - 1)])

    def to_unit(self, value: Value) -> float:
        """Map an option to the middle of its interval."""
        place = next(place for place, option in enumerate(self.options) if is_same(option, value))
        return (place + 0.5) / len(self.options)

    def under(self, params: Mapping[str, Value]) -> "Choice":
        """Return this domain, which does not depend on other params."""
        return self

    def contains(self, value: Value) -> bool:
        """True if the value is an option."""
        return is_among(value, self.options)


@dataclass(frozen=True)
class Cases:
    """A domain for each listed value of the controlling param; each value belongs to one case."""

    controller: str
    domains: tuple[tuple[tuple[Value, ...], Range | Choice], ...]

    def __str__(self) -> str:
        return "; ".join(f"{', '.join(map(str, values))}: {domain}" for values, domain in self.domains)

    @property
    def is_fixed(self) -> bool:
        """False: the value depends on the controlling param."""
        return False

    def under(self, params: Mapping[str, Value]) -> Range | Choice:
        """Return the domain for these params; an active dimension has one."""
        return next(domain for values, domain in self.domains if is_among(params[self.controller], values))

    def contains(self, value: Value) -> bool:
        """True if the domain of any case contains the value."""
        return any(domain.contains(value) for _, domain in self.domains)


Domain = Range | Choice | Cases


def table_text(table: Mapping[str, Value]) -> str:
    """Return a table as a study file has it, such as `{ no = 1, yes = 5 }`."""
    return "{ " + ", ".join(f"{name} = {_value_text(value)}" for name, value in table.items()) + " }"


def _value_text(value: Value) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value_text, value))}]"
    if isinstance(value, dict):
        return table_text(value)
    return f'"{value}"' if isinstance(value, str) else f"{value:g}"


def _text(option: Value) -> str:
    if isinstance(option, dict):
        return table_text(option)
    return str(option).lower() if isinstance(option, bool) else str(option)


def range_problems(low: float, high: float, scale: str, integer: bool, steps: int | None) -> list[str]:
    """Return all problems of a range."""
    problems = []
    if not (math.isfinite(low) and math.isfinite(high)):
        problems.append(f"{low} to {high} is not finite")
    elif low >= high:
        problems.append(f"low {low} is not below high {high}")
    if scale not in SCALES:
        problems.append(unknown_name(scale, SCALES, "scale"))
    if scale == "log" and low <= 0:
        problems.append(f"low {low} has no logarithm (allowed on a log scale: low above 0)")
    if integer:
        fractions = [number for number in (low, high) if not isinstance(number, int)]
        problems += [f"{number} is not a whole number" for number in fractions]
    if steps is not None and not 2 <= steps <= LIMIT_STEPS:
        problems.append(f"steps {steps} is out of range (allowed: 2 to {LIMIT_STEPS}, both ends included)")
    return problems


def _rounded(number: float) -> float:
    """Keep 12 digits: the last digits of a logarithm differ between machines."""
    return float(f"{number:.12g}")


def _scaled(number: float, scale: str) -> float:
    return math.log(number) if scale == "log" else float(number)
