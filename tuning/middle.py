"""The middle of a search space: one ordinary trial, for what is asked before any trial is trained."""

from collections.abc import Mapping

from tuning.search_space import Domain, Range, SearchSpace
from tuning.trial import Value


def middle_point(space: SearchSpace, fixed: Mapping[str, Value]) -> dict[str, Value]:
    """Return the params that count, each in the middle of what it may be; `fixed` overrules, where it is a dimension.

    The middle of a range is that of its scale, of numeric options the lower median, and of words the first one given.
    """
    drawn = {name: _middle(dimension.domain) for name, dimension in space.by_name.items()}
    return space.active(drawn | {name: value for name, value in fixed.items() if name in drawn})


def _middle(domain: Domain) -> Value:
    if isinstance(domain, Range):
        return domain.from_unit(0.5)
    numbers = [option for option in domain.options if isinstance(option, int | float) and not isinstance(option, bool)]
    if len(numbers) < len(domain.options):
        return domain.from_unit(0.0)
    return sorted(numbers)[(len(numbers) - 1) // 2]
