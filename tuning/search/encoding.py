"""Points of a search space as vectors, in which a distance is meaningful: for models of the objective."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import sqrt

import numpy as np

from nightune.tuning.search.domains import Cases, Choice, Range, is_same
from nightune.tuning.search.search_space import Dimension, SearchSpace
from nightune.tuning.trial import Value

INACTIVE = 0.5  # the place of an inactive number: half as far from both ends as these are from each other
APART = sqrt(0.5)  # the coordinate of an option of its own: two options are at distance 1


@dataclass(frozen=True)
class _Part:
    """The columns of one dimension, or of one of its cases: one for a number, one for each option without an order."""

    dimension: Dimension
    domains: tuple[Range | Choice, ...]

    @cached_property
    def is_number(self) -> bool:
        """True if the values have an order."""
        return all(is_ordered(domain) for domain in self.domains)

    @cached_property
    def options(self) -> list[Value]:
        """The options of all domains, a column each where they have no order."""
        return [option for each in self.domains for option in each.points]

    @cached_property
    def width(self) -> int:
        """The number of columns."""
        return 1 if self.is_number else len(self.options)

    def write(self, point: Mapping[str, Value], domain: Range | Choice | None, row: np.ndarray) -> None:
        """Write the coordinates of a point; the domain is that of the active dimension, None if it is inactive."""
        is_here = domain is not None and any(domain is each for each in self.domains)
        if self.is_number:
            row[0] = _place(domain, point[self.dimension.name]) if is_here and domain is not None else INACTIVE
            return
        for column, option in enumerate(self.options):
            row[column] = APART if is_here and is_same(option, point[self.dimension.name]) else 0.0


@dataclass(frozen=True)
class Encoding:
    """The vectors of a space's points. `groups` has for each column the number of its part: parts share a length.

    A number has one column, its position in [0, 1] on its scale, and an option without an order a column of its own. A
    case of a dimension is a part; ranges of several cases are one, by their relative positions.
    """

    space: SearchSpace

    @cached_property
    def parts(self) -> tuple[_Part, ...]:
        """The parts, by dimension."""
        return tuple(part for name in self.space.varying for part in _parts(self.space.by_name[name]))

    @cached_property
    def groups(self) -> np.ndarray:
        """The part of each column."""
        return np.repeat(np.arange(len(self.parts)), [part.width for part in self.parts])

    def __call__(self, points: Sequence[Mapping[str, Value]]) -> np.ndarray:
        """Return the coordinates, (points, columns), each from 0 to 1; inactive params have constant ones."""
        rows = np.empty((len(points), len(self.groups)))
        for row, point in zip(rows, points, strict=True):
            start = 0
            for part in self.parts:
                name = part.dimension.name
                domain = part.dimension.domain.under(point) if name in point else None
                part.write(point, domain, row[start : start + part.width])
                start += part.width
        return rows


def _parts(dimension: Dimension) -> Iterator[_Part]:
    if not isinstance(dimension.domain, Cases):
        yield _Part(dimension, (dimension.domain,))
        return
    domains = [domain for _, domain in dimension.domain.domains]
    ordered = tuple(domain for domain in domains if is_ordered(domain))
    if ordered:
        yield _Part(dimension, ordered)
    for domain in domains:
        if not is_ordered(domain) and not domain.is_fixed:
            yield _Part(dimension, (domain,))


def is_ordered(domain: Range | Choice) -> bool:
    """True if the values have an order: numbers, of a range or as options."""
    if isinstance(domain, Range):
        return True
    return all(isinstance(option, int | float) and not isinstance(option, bool) for option in domain.options)


def _place(domain: Range | Choice, value: Value) -> float:
    if isinstance(domain, Range):
        return min(max(domain.to_unit(value), 0.0), 1.0)
    numbers = sorted(float(str(option)) for option in domain.options)
    return (numbers.index(float(str(value))) + 0.5) / len(numbers)
