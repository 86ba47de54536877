"""The middle of a search space: one ordinary trial, for what is asked before any trial is trained."""

from collections.abc import Mapping

from nightune.tuning.search.domains import Choice, Range
from nightune.tuning.search.search_space import SearchSpace
from nightune.tuning.trial import Value


def middle_point(space: SearchSpace, fixed: Mapping[str, Value]) -> dict[str, Value]:
    """Return the params that count, each in the middle of what it may be; `fixed` overrules, where it is a dimension.

    The middle of a range is that of its scale, of numeric options the lower median, and of words the first one given.
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
