"""The points of a grid: all distinct combinations of the values of active params."""

from collections.abc import Callable, Iterator, Sequence
from math import prod

from nightune.tuning.search.domains import Choice, Range
from nightune.tuning.search.search_space import Dimension, SearchSpace
from nightune.tuning.trial import Value

GRID_LIMIT = 1_000_000  # points

Values = Callable[[Range | Choice], Sequence[Value]]


def grid_points(space: SearchSpace) -> Iterator[dict[str, Value]]:
    """Yield the grid points without duplicates: an inactive param is absent and adds no points.

    Dimensions vary in control order, the last one fastest. ValueError if a range has no steps.
    """
    yield from all_points(space, _steps)


def all_points(space: SearchSpace, values: Values) -> Iterator[dict[str, Value]]:
    """Yield all combinations of the values of active params, as `grid_points` does with the steps of ranges."""
    for params in _assignments(space.in_control_order, values):
        yield dict(sorted(params.items()))


def grid_size(space: SearchSpace) -> int:
    """Count the points without generating them."""
    return count_points(space, _steps, GRID_LIMIT)


def count_points(space: SearchSpace, values: Values, limit: int) -> int:
    """Count the combinations of the values of active params.

    Only dimensions that control others are enumerated. Above the limit of combinations of these, counting stops: the
    result is then a lower bound.
    """
    controlling = {controller for dimension in space.dimensions for controller in dimension.controllers}
    branching = [dimension for dimension in space.in_control_order if dimension.name in controlling]
    rest = [dimension for dimension in space.dimensions if dimension.name not in controlling]
    common = prod(len(values(dimension.domain.under({}))) for dimension in rest if not dimension.controllers)
    conditional = [dimension for dimension in rest if dimension.controllers]
    size = 0
    for combinations, params in enumerate(_assignments(branching, values), start=1):
        active = (dimension.domain.under(params) for dimension in conditional if dimension.is_active(params))
        size += prod(len(values(domain)) for domain in active)
        if combinations > limit:
            break
    return size * common


def _steps(domain: Range | Choice) -> Sequence[Value]:
    return domain.points


def _assignments(dimensions: Sequence[Dimension], values: Values) -> Iterator[dict[str, Value]]:
    """Yield all combinations of values; a dimension varies only where the values of the earlier ones make it active."""
    if not dimensions:
        yield {}
        return
    *outer, last = dimensions
    for params in _assignments(outer, values):
        if last.is_active(params):
            yield from ({**params, last.name: value} for value in values(last.domain.under(params)))
        else:
            yield params
