"""The points of a grid: all distinct combinations of the values of active params."""

from collections.abc import Iterator
from math import prod

from nightune.tuning.search.search_space import Dimension, SearchSpace
from nightune.tuning.trial import Value

GRID_LIMIT = 1_000_000  # points


def grid_points(space: SearchSpace) -> Iterator[dict[str, Value]]:
    """Yield the grid points without duplicates: an inactive param is absent and adds no points.

    Dimensions vary in control order, the last one fastest. ValueError if a range has no steps.
    """
    for params in _assignments(space.in_control_order):
        yield dict(sorted(params.items()))


def grid_size(space: SearchSpace) -> int:
    """Count the points without generating them.

    Only dimensions that control others are enumerated. Above a million combinations of these, counting stops: the
    result is then a lower bound.
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
    """Yield all combinations of values; a dimension varies only where the values of the earlier ones make it active."""
    if not dimensions:
        yield {}
        return
    *outer, last = dimensions
    for params in _assignments(outer):
        if last.is_active(params):
            yield from ({**params, last.name: value} for value in last.domain.under(params).points)
        else:
            yield params
