"""The points of a grid: every combination of values that differ in something that counts."""

from collections.abc import Iterator
from math import prod

from nightune.tuning.search.search_space import Dimension, SearchSpace
from nightune.tuning.trial import Value

GRID_LIMIT = 1_000_000  # points; more is no grid that anyone trains


def grid_points(space: SearchSpace) -> Iterator[dict[str, Value]]:
    """Yield the active points, none twice: a param that does not count is absent and makes no further points.

    Dimensions vary in control order, the last one fastest. ValueError if a range has no steps.
    """
    for params in _assignments(space.in_control_order):
        yield dict(sorted(params.items()))


def grid_size(space: SearchSpace) -> int:
    """Count the points without making them.

    Only dimensions that control others are gone through; if these alone make more than a million combinations, the
    count ends there and is a lower bound.
    """
    controlling = {controller for dimension in space.dimensions for controller in dimension.controllers}
    branching = [dimension for dimension in space.in_control_order if dimension.name in controlling]
    rest = [dimension for dimension in space.dimensions if dimension.name not in controlling]
    common = prod(len(dimension.domain.under({}).points) for dimension in rest if not dimension.controllers)
    conditional = [dimension for dimension in rest if dimension.controllers]
    size = 0
    for combinations, params in enumerate(_assignments(branching), start=1):
        active = (dimension.domain.under(params) for dimension in conditional if dimension.is_active(params))
        size += prod(len(domain.points) for domain in active)
        if combinations > GRID_LIMIT:
            break
    return size * common


def _assignments(dimensions: "tuple[Dimension, ...] | list[Dimension]") -> Iterator[dict[str, Value]]:
    """Yield every combination of values of those dimensions that count beside the values before them."""
    if not dimensions:
        yield {}
        return
    *outer, last = dimensions
    for params in _assignments(outer):
        if last.is_active(params):
            yield from ({**params, last.name: value} for value in last.domain.under(params).points)
        else:
            yield params
