"""The middle of a search space: a representative trial, for probes before the first training."""

from collections.abc import Mapping

from nightune.tuning.search.domains import Choice, Range
from nightune.tuning.search.search_space import SearchSpace
from nightune.tuning.trial import Value


def middle_point(space: SearchSpace, fixed: Mapping[str, Value]) -> dict[str, Value]:
    """Return the active params, each in the middle of its domain; `fixed` overrides the values of dimensions.

    The middle of a range is on its scale, that of numeric options is the lower median, and that of words is the first.
    """
    kept: dict[str, Value] = {}
    for dimension in space.in_control_order:
        if dimension.is_active(kept):
            is_fixed = dimension.name in fixed
            kept[dimension.name] = fixed[dimension.name] if is_fixed else _middle(dimension.domain.under(kept))
    return dict(sorted(kept.items()))


def _middle(domain: Range | Choice) -> Value:
    if isinstance(domain, Range):
        return domain.from_unit(0.5)
    numbers = [option for option in domain.options if isinstance(option, int | float) and not isinstance(option, bool)]
    if len(numbers) < len(domain.options):
        return domain.from_unit(0.0)
    return sorted(numbers)[(len(numbers) - 1) // 2]
