"""The points of a bracket: drawn by its number, or proposed from the results of the brackets before."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from nightune.tuning.search.distinct import distinct_points
from nightune.tuning.search.guidance import NO_GUIDANCE, Guidance
from nightune.tuning.search.observations import Observation
from nightune.tuning.search.proposals import Proposer
from nightune.tuning.search.rung_agreement import unreliable_rungs
from nightune.tuning.search.samplers import Sampler
from nightune.tuning.search.scalarization import propose
from nightune.tuning.search.search_space import SearchSpace
from nightune.tuning.study.search_section import SearchSection
from nightune.tuning.trial import Bracket, Params, Rung, Value

HISTORY = "history"  # chose the points that were best in earlier sweeps
PORTFOLIO = "portfolio"  # chose configurations that were good on other data


def settled(search: SearchSection, bracket: Bracket, observations: Sequence[Observation]) -> Bracket:
    """Return the bracket as it is trained: without first rungs that ranked the trials before otherwise than later ones.

    A function of the observations of the brackets before, and of earlier sweeps, in any order. Its trials stay.
    """
    if not search.adapts_rungs or bracket.first == 0:
        return bracket
    before = [each for each in observations if each.number < bracket.first]
    left_out = unreliable_rungs([rung.epochs for rung in bracket.rungs], before)
    return _lengthened(bracket, bracket.rungs[left_out].epochs)


def as_settled(brackets: Iterable[Bracket], first_rungs: Mapping[int, int]) -> tuple[Bracket, ...]:
    """Return the brackets as a sweep has trained them: `first_rungs` are the epochs of first rungs by first trial."""
    return tuple(_lengthened(each, first_rungs.get(each.first, 0)) for each in brackets)


def _lengthened(bracket: Bracket, epochs: int) -> Bracket:
    """Return the bracket with its rungs from so many epochs on, entered by as many trials as its own first ones."""
    later = [rung for rung in bracket.rungs if rung.epochs >= epochs] or list(bracket.rungs)
    rungs = zip(bracket.rungs, later, strict=False)
    return Bracket(tuple(Rung(rung.trials, each.epochs) for rung, each in rungs), bracket.first)


def draws(search: SearchSection, repeats_points: bool = False) -> Sampler:
    """Return the sampler of a method; it repeats no point of a space of few, unless `repeats_points` is set."""
    return distinct_points if search.row.is_distinct and not repeats_points else search.row.sampler


def proposer_of(search: SearchSection, bracket: Bracket, guidance: Guidance = NO_GUIDANCE) -> Proposer | None:
    """Return what proposes the points of the bracket from the results before; None where they are drawn.

    `guidance` is for the methods that expect an objective of a point.
    """
    return search.row.guided_by(guidance) if bracket.first > 0 else None


def is_proposed(search: SearchSection, bracket: Bracket) -> bool:
    """True if the points of the bracket depend on results: of a model's method, those after the first round."""
    return proposer_of(search, bracket) is not None


def is_expected(search: SearchSection, bracket: Bracket) -> bool:
    """True if a Gaussian process proposes the points of the bracket: it expects an objective of each."""
    return is_proposed(search, bracket) and search.row.is_expecting


def proposed_by(search: SearchSection, bracket: Bracket, kept: int, of_portfolio: int = 0) -> Callable[[int], str]:
    """Return a function from a place in the bracket to what chose its point.

    `kept` points came first, the last of them, `of_portfolio`, from the portfolio and the others from history.
    """
    if is_proposed(search, bracket):
        return lambda place: search.method
    drawn = "grid" if search.method == "grid" else "random"

    def chosen_by(place: int) -> str:
        number = bracket.first + place
        if number >= kept:
            return drawn
        return HISTORY if number < kept - of_portfolio else PORTFOLIO

    return chosen_by


def bracket_points(
    search: SearchSection,
    space: SearchSpace,
    bracket: Bracket,
    observations: Sequence[Observation],
    seed: Sequence[int],
    kept: Sequence[Params] = (),
    guidance: Guidance = NO_GUIDANCE,
) -> list[dict[str, Value]]:
    """Return the points of a bracket; the same arguments give the same points on any machine with the same libraries.

    `observations` are those of the brackets before, in any order, and of earlier sweeps, whose numbers are below 0.
    `kept` are the bracket's first points, if these were proposed earlier; they are in the result. Where points are
    drawn, they are those that the sweep begins with, for each of its brackets. `guidance` is what guides
    proposals beside the results.
    """
    proposer = proposer_of(search, bracket, guidance)
    if proposer is None:
        return drawn_points(draws(search), space, bracket, seed, kept)
    first = [dict(point) for point in kept[: bracket.trials]]
    before = sorted((each for each in observations if each.number < bracket.first), key=lambda each: each.number)
    stream = [*seed, bracket.first]
    more = propose(proposer, space, before, first, bracket.trials - len(first), stream)
    return [*first, *more]


def drawn_points(
    draw: Sampler, space: SearchSpace, bracket: Bracket, seed: Sequence[int], kept: Sequence[Params] = ()
) -> list[dict[str, Value]]:
    """Return the points of a bracket that a sampler draws, those of `kept` in the first places of the sweep."""
    return begun_with(kept, draw(space, bracket.first + bracket.trials, [], seed))[bracket.first :]


def begun_with(begin: Sequence[Params], drawn: list[dict[str, Value]]) -> list[dict[str, Value]]:
    """Return the draws with these points in the first places; what they repeat is one of the draws that they replace.

    Each place depends on the draws up to it alone: more draws do not change it.
    """
    first = [dict(point) for point in begin[: len(drawn)]]
    unused = (point for point in drawn[: len(first)] if point not in first)
    return [*first, *(next(unused, point) if point in first else point for point in drawn[len(first) :])]
