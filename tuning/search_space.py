"""The search space: named dimensions, what values each may take, and when each counts."""

import math
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

from tuning.problems import shown, suggestion
from tuning.trial import Value

Scale = Literal["linear", "log"]
SCALES: tuple[str, ...] = get_args(Scale)
LIMIT_STEPS = 10_000


def is_same(value: Value, other: Value) -> bool:
    """True if the values are equal and neither is a boolean beside a number (Python takes 1 == True)."""
    return value == other and isinstance(value, bool) == isinstance(other, bool)


def is_among(value: Value, values: Iterable[Value]) -> bool:
    """True if one of the values is the same."""
    return any(is_same(value, other) for other in values)


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, both included. `steps` are the points of a grid; a random draw ignores them."""

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
        """Never: low is below high."""
        return False

    @property
    def points(self) -> tuple[Value, ...]:
        """The points of a grid, ascending, ends included; whole numbers that coincide count once."""
        if self.steps is None:
            raise ValueError("a range without steps has no grid")
        inner = (self._at(step / (self.steps - 1)) for step in range(1, self.steps - 1))
        rounded = (round(number) if self.integer else _rounded(number) for number in inner)
        ends = (self.low, self.high) if self.integer else (float(self.low), float(self.high))
        clipped = (min(max(number, ends[0]), ends[1]) for number in rounded)
        return tuple(dict.fromkeys([ends[0], *clipped, ends[1]]))

    def from_unit(self, unit: float) -> Value:
        """Return the value at a place in [0, 1): uniform in value or in its logarithm, whole numbers unbiased."""
        if not self.integer:
            return min(max(_rounded(self._at(unit)), float(self.low)), float(self.high))
        if self.scale == "linear":
            count = int(self.high) - int(self.low) + 1
            return int(self.low) + min(int(unit * count), count - 1)
        # Each whole number owns the stretch of the logarithm from half below it to half above it.
        low, high = math.log(self.low - 0.5), math.log(self.high + 0.5)
        return min(max(round(math.exp(low + unit * (high - low))), int(self.low)), int(self.high))

    def to_unit(self, value: Value) -> float:
        """Return the place of a value: `from_unit` of it is the value again, floats up to rounding."""
        assert isinstance(value, int | float)
        if not self.integer:
            low, high, at = (_scaled(number, self.scale) for number in (self.low, self.high, value))
            return (at - low) / (high - low)
        if self.scale == "linear":
            return (value - self.low + 0.5) / (self.high - self.low + 1)
        low, high = math.log(self.low - 0.5), math.log(self.high + 0.5)
        return (math.log(value) - low) / (high - low)

    def takes(self, value: Value) -> bool:
        """True if a draw or a grid may give the value; for real numbers, one of its ends or between them."""
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
    """One of some options; of a single one, a fixed value."""

    options: tuple[Value, ...]

    def __post_init__(self) -> None:
        if not self.options:
            raise ValueError("a choice without options")
        twice = [option for place, option in enumerate(self.options) if is_among(option, self.options[:place])]
        if twice:
            raise ValueError(f"the option {twice[0]!r} is given twice")

    def __str__(self) -> str:
        return ", ".join(str(option).lower() if isinstance(option, bool) else str(option) for option in self.options)

    @property
    def is_fixed(self) -> bool:
        """True if there is nothing to choose."""
        return len(self.options) == 1

    @property
    def points(self) -> tuple[Value, ...]:
        """The options, in the order given."""
        return self.options

    def from_unit(self, unit: float) -> Value:
        """Return the option at a place in [0, 1), each owning an equal part; lists are the caller's own."""
        return deepcopy(self.options[min(int(unit * len(self.options)), len(self.options) - 1)])

    def to_unit(self, value: Value) -> float:
        """Return the middle of the part that the option owns."""
        place = next(place for place, option in enumerate(self.options) if is_same(option, value))
        return (place + 0.5) / len(self.options)

    def takes(self, value: Value) -> bool:
        """True if the value is an option."""
        return is_among(value, self.options)


Domain = Range | Choice


@dataclass(frozen=True)
class Condition:
    """Holds if another param has one of the values; if that one is itself absent, only with `or_absent`."""

    name: str
    values: tuple[Value, ...]
    or_absent: bool = False

    def __str__(self) -> str:
        words = [str(value).lower() if isinstance(value, bool) else str(value) for value in self.values]
        return f"{self.name} is {' or '.join([*words, 'absent'] if self.or_absent else words)}"

    def holds(self, params: Mapping[str, Value]) -> bool:
        """True under these params, which are complete but for what depends on them."""
        if self.name not in params:
            return self.or_absent
        return is_among(params[self.name], self.values)


@dataclass(frozen=True)
class Dimension:
    """A param's dotted name, its values, and the conditions that must all hold for it to count."""

    name: str
    domain: Domain
    when: tuple[Condition, ...] = ()

    @property
    def condition_text(self) -> str:
        """The conditions in words."""
        return " and ".join(str(condition) for condition in self.when) or "always"

    def is_active(self, params: Mapping[str, Value]) -> bool:
        """True if the dimension counts beside these params."""
        return all(condition.holds(params) for condition in self.when)


@dataclass(frozen=True)
class SearchSpace:
    """All dimensions, fixed ones included. The order in which they are given changes nothing that is drawn."""

    dimensions: tuple[Dimension, ...]

    def __post_init__(self) -> None:
        names = [dimension.name for dimension in self.dimensions]
        twice = [name for place, name in enumerate(names) if name in names[:place]]
        if twice:
            raise ValueError(f"{twice[0]}: given twice")
        for dimension in self.dimensions:
            for condition in dimension.when:
                self._refuse_bad(dimension, condition)
        circle = find_circle({each.name: [condition.name for condition in each.when] for each in self.dimensions})
        if circle:
            raise ValueError(f"{circle[0]}: a circle of conditions: {' → '.join(circle)}")

    @property
    def varying(self) -> tuple[str, ...]:
        """Names of the dimensions that are searched, sorted."""
        return tuple(sorted(each.name for each in self.dimensions if not each.domain.is_fixed))

    @cached_property
    def by_name(self) -> dict[str, Dimension]:
        """The dimensions by their names, sorted."""
        return {each.name: each for each in sorted(self.dimensions, key=lambda dimension: dimension.name)}

    @cached_property
    def in_control_order(self) -> tuple[Dimension, ...]:
        """The dimensions, each after all that its conditions name; otherwise by name."""
        ordered: dict[str, Dimension] = {}
        while len(ordered) < len(self.dimensions):
            ready = (
                dimension
                for name, dimension in self.by_name.items()
                if name not in ordered and all(condition.name in ordered for condition in dimension.when)
            )
            first = next(ready)
            ordered[first.name] = first
        return tuple(ordered.values())

    def active(self, drawn: Mapping[str, Value]) -> dict[str, Value]:
        """Keep of one value a dimension those that count, in the order of their names."""
        kept: dict[str, Value] = {}
        for dimension in self.in_control_order:
            if dimension.is_active(kept):
                kept[dimension.name] = drawn[dimension.name]
        return dict(sorted(kept.items()))

    def _refuse_bad(self, dimension: Dimension, condition: Condition) -> None:
        if condition.name not in self.by_name:
            raise ValueError(f"{dimension.name}: the condition names no dimension: {condition.name!r}")
        domain = self.by_name[condition.name].domain
        never = [value for value in condition.values if not domain.takes(value)]
        if never or not condition.values:
            raise ValueError(f"{dimension.name}: {condition.name} never takes {never or 'one of no values'}")


def range_problems(low: float, high: float, scale: str, integer: bool, steps: int | None) -> list[str]:
    """Say all that is wrong with a range."""
    problems = []
    if not (math.isfinite(low) and math.isfinite(high)):
        problems.append(f"{low} to {high} is not finite")
    elif low >= high:
        problems.append(f"low {low} is not below high {high}")
    if scale not in SCALES:
        problems.append(f"unknown scale {shown(scale)}{suggestion(scale, SCALES)} (known: {', '.join(SCALES)})")
    if scale == "log" and low <= 0:
        problems.append(f"low {low} has no logarithm (a log scale needs low above 0)")
    if integer:
        fractions = [number for number in (low, high) if not isinstance(number, int)]
        problems += [f"{number} is not a whole number" for number in fractions]
    if steps is not None and not 2 <= steps <= LIMIT_STEPS:
        problems.append(f"steps {steps} is out of range (allowed: 2 to {LIMIT_STEPS}, both ends included)")
    return problems


def find_circle(controllers: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the first circle of names, its start repeated at its end, or nothing. Unknown names end a path."""
    left = {name: [each for each in controllers[name] if each in controllers] for name in sorted(controllers)}
    while free := [name for name, needs in left.items() if not any(need in left for need in needs)]:
        left = {name: needs for name, needs in left.items() if name not in free}
    if not left:
        return []
    path = [next(iter(left))]
    while path[-1] not in path[:-1]:
        path.append(next(need for need in left[path[-1]] if need in left))
    return path[path.index(path[-1]) :]


def _rounded(number: float) -> float:
    """Keep 12 digits: the last ones of a logarithm differ between machines, and nobody wants to read them."""
    return float(f"{number:.12g}")


def _scaled(number: float, scale: str) -> float:
    return math.log(number) if scale == "log" else float(number)
