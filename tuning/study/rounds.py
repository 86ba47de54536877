"""The points of a bracket: drawn by its number, or proposed from the results of the brackets before."""

from collections.abc import Callable, Sequence

from nightune.tuning.search.distinct import distinct_points
from nightune.tuning.search.observations import Observation
from nightune.tuning.search.proposals import PROPOSERS
from nightune.tuning.search.samplers import SAMPLERS, Sampler
from nightune.tuning.search.scalarization import propose
from nightune.tuning.search.search_space import SearchSpace
from nightune.tuning.study.budgets import DISTINCT_METHODS
from nightune.tuning.study.search_section import SearchSection
from nightune.tuning.trial import Bracket, Params, Value

HISTORY = "history"  # chose the points that were best in earlier sweeps


def draws(search: SearchSection, repeats_points: bool = False) -> Sampler:
    """Return the sampler of a method; it repeats no point of a space of few, unless `repeats_points` is set."""
    is_distinct = search.method in DISTINCT_METHODS and not repeats_points
    return distinct_points if is_distinct else SAMPLERS[search.method]


def is_proposed(search: SearchSection, bracket: Bracket) -> bool:
    """True if the points of the bracket depend on results: of a model's method, those after the first round."""
    return search.method in PROPOSERS and bracket.first > 0


def proposed_by(search: SearchSection, bracket: Bracket, kept: int) -> Callable[[int], str]:
    """Return a function from a place in the bracket to what chose its point; `kept` points came first, as above."""
    if is_proposed(search, bracket):
        return lambda place: search.method
    drawn = "grid" if search.method == "grid" else "random"
    return lambda place: HISTORY if bracket.first + place < kept else drawn


def bracket_points(
    search: SearchSection,
    space: SearchSpace,
    bracket: Bracket,
    observations: Sequence[Observation],
    seed: Sequence[int],
    kept: Sequence[Params] = (),
    repeats_points: bool = False,
) -> list[dict[str, Value]]:
    """Return the points of a bracket; the same arguments give the same points on any machine with the same libraries.

    `observations` are those of the brackets before, in any order, and of earlier sweeps, whose numbers are below 0.
    `kept` are the bracket's first points, if these were proposed earlier; they are in the result. Where points are
    drawn, they are those that the sweep begins with, for each of its brackets. `repeats_points` as in `draws`.
    """
    if not is_proposed(search, bracket):
        drawn = draws(search, repeats_points)(space, bracket.first + bracket.trials, [], seed)
        return _begun_with([dict(point) for point in kept], drawn)[bracket.first :]
    first = [dict(point) for point in kept[: bracket.trials]]
    before = sorted((each for each in observations if each.number < bracket.first), key=lambda each: each.number)
    stream = [*seed, bracket.first]
    more = propose(PROPOSERS[search.method], space, before, first, bracket.trials - len(first), stream)
    return [*first, *more]


def _begun_with(first: list[dict[str, Value]], drawn: list[dict[str, Value]]) -> list[dict[str, Value]]:
    """Return the draws with these points in the first places; what they repeat is one of the draws that they replace.

    Each place depends on the draws up to it alone: more draws do not change it.
    """
    first = first[: len(drawn)]
    unused = (point for point in drawn[: len(first)] if point not in first)
    return [*first, *(next(unused, point) if point in first else point for point in drawn[len(first) :])]
