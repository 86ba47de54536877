"""The middle and the ends of a search space: representative trials, for probes and builds before the first training."""

from collections.abc import Callable, Mapping

from nightune.tuning.search.domains import Choice, Range
from nightune.tuning.search.search_space import SearchSpace
from nightune.tuning.trial import Value


def middle_point(space: SearchSpace, fixed: Mapping[str, Value]) -> dict[str, Value]:
    """Return the active params, each in the middle of its domain; `fixed` overrides the values of dimensions.

    The middle of a range is on its scale, that of numeric options is the lower median, and that of words is the first.
    """
    return _point(space, fixed, _middle)


def lowest_point(space: SearchSpace, fixed: Mapping[str, Value]) -> dict[str, Value]:
    """Return the active params, each with its lowest number or its first option; `fixed` as in `middle_point`."""
    return _point(space, fixed, lambda domain: _end(domain, min))


def highest_point(space: SearchSpace, fixed: Mapping[str, Value]) -> dict[str, Value]:
    """Return the active params, each with its highest number or its last option; `fixed` as in `middle_point`."""
    return _point(space, fixed, lambda domain: _end(domain, max))


def _point(
    space: SearchSpace, fixed: Mapping[str, Value], chosen: Callable[[Range | Choice], Value]
) -> dict[str, Value]:
    kept: dict[str, Value] = {}
    for dimension in space.in_control_order:
        if dimension.is_active(kept):
            is_fixed = dimension.name in fixed
            kept[dimension.name] = fixed[dimension.name] if is_fixed else chosen(dimension.domain.under(kept))
    return dict(sorted(kept.items()))


def _middle(domain: Range | Choice) -> Value:
    if isinstance(domain, Range):
        return domain.from_unit(0.5)
    numbers = _numbers(domain)
    if len(numbers) < len(domain.options):
        return domain.from_unit(0.0)
    return sorted(numbers)[(len(numbers) - 1) // 2]


def _end(domain: Range | Choice, end: Callable[[list[int | float]], int | float]) -> Value:
    if isinstance(domain, Range):
        number = end([domain.low, domain.high])
        return number if domain.integer else float(number)
    numbers = _numbers(domain)
    if len(numbers) < len(domain.options):
        return domain.from_unit(end([0.0, 1.0]))
    return end(numbers)


def _numbers(domain: Choice) -> list[int | float]:
    return [option for option in domain.options if isinstance(option, int | float) and not isinstance(option, bool)]
