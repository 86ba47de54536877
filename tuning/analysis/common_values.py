"""The value that the best trials have in common by more than chance: an option, or a half of a range."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from nightune.tuning.analysis.importance import drawn_by_chance
from nightune.tuning.analysis.value_text import value_text
from nightune.tuning.search.domains import Choice, Range, is_same
from nightune.tuning.search.search_space import Dimension
from nightune.tuning.trial import Params, TrialResult, Value

LEVEL = 0.05  # over all values that are examined


@dataclass(frozen=True, slots=True)
class CommonValue:
    """A value in words, the numbers of the best trials and of all that have it, and the chance of so many."""

    said: str
    best: int
    everywhere: int
    chance: float


def common_value(
    dimensions: Sequence[Dimension], ranked: Sequence[TrialResult], best: int, characters: int
) -> CommonValue | None:
    """Return what the first `best` of the trials have in common; None if chance explains it all.

    Values in words have so many characters at most.
    """
    examined = sorted(_examined(dimensions, ranked, best, characters), key=lambda each: each.chance)
    return examined[0] if examined and examined[0].chance * len(examined) <= LEVEL else None


def _examined(
    dimensions: Sequence[Dimension], ranked: Sequence[TrialResult], best: int, characters: int
) -> Iterator[CommonValue]:
    for dimension in dimensions:
        for said, holds in _parts(dimension, characters):
            everywhere, held = (
                sum(dimension.name in each.trial.params and holds(each.trial.params) for each in trials)
                for trials in (ranked, ranked[:best])
            )
            chance = drawn_by_chance(len(ranked), everywhere, best, held)
            yield CommonValue(f"{dimension.name} {said}", held, everywhere, chance)


def _parts(dimension: Dimension, characters: int) -> Iterator[tuple[str, Callable[[Params], bool]]]:
    """Yield each option, or the two halves of a range, in words, and whether params with a value have it."""
    domain = dimension.domain
    if isinstance(domain, Choice):
        for option in domain.options:
            yield value_text(option, characters), partial(_has, dimension.name, option)
        return
    middle = value_text(domain.from_unit(0.5), characters) if isinstance(domain, Range) else "the middle of its range"
    yield f"below {middle}", lambda params: (dimension.place(params) or 0.0) < 0.5
    yield f"above {middle}", lambda params: (dimension.place(params) or 0.0) >= 0.5


def _has(name: str, option: Value, params: Params) -> bool:
    return is_same(params[name], option)
