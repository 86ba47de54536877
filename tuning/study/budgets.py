"""Budgets as data: the number of trials, the epochs of each rung, and the trials that enter the next rung."""

from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import pairwise

from nightune.tuning.analysis.leaderboard import leaderboard
from nightune.tuning.search.distinct import point_count
from nightune.tuning.search.grid import grid_size
from nightune.tuning.search.search_space import SearchSpace
from nightune.tuning.study.generations import generations
from nightune.tuning.study.search_section import SearchSection
from nightune.tuning.trial import Bracket, Rung, Trial, TrialResult
from nightune.vocabulary import row_of

ROUND = 16  # trials that a model proposes at once
FIRST_ROUND = 8  # of `auto`, and of a model's search that begins with the portfolio (decision 119)


def brackets(
    search: SearchSection, space: SearchSpace, first_round: int = FIRST_ROUND, earlier_lengths: Sequence[int] = ()
) -> tuple[Bracket, ...]:
    """Return the budget of a search; `first_round` are the trials of its first round, where that is a shorter one.

    `earlier_lengths` are the numbers of trials that a sweep had before each extension: a round with rungs, which depend
    on its size, ends there; one without is filled up.
    """
    if search.ends or search.row.proposer is not None:
        return _rounds(search, first_round, earlier_lengths)
    return row_of(BUDGETS, search.method, "BUDGETS in tuning/study/budgets.py")(search, space)


def has_first_round(search: SearchSection) -> bool:
    """True if the first round has a size of its own: of `auto` without rungs, and where the portfolio fills it."""
    is_short = search.begins_with_portfolio or (search.method == "auto" and not search.has_rungs)
    return is_short and search.row.proposer is not None


def without_repeats(search: SearchSection, space: SearchSpace) -> SearchSection:
    """Limit the trials of a random search or of successive halving to the points of the space, if these are fewer.

    A space of one point keeps its trials: they differ in their seeds.
    """
    if search.trials is None or not search.row.is_distinct:
        return search
    points = point_count(space, search.trials)
    is_few = points is not None and 1 < points < search.trials
    return search.model_copy(update={"trials": points}) if is_few else search


def can_extend(earlier: Sequence[Bracket], longer: Sequence[Bracket]) -> bool:
    """True if a sweep of the earlier brackets can become one of the longer ones, without another result of a trial.

    That is: what its trials enter stays the same. A bracket of one rung may get more trials.
    """
    firsts = {bracket.first: bracket for bracket in longer}
    pairs = [(bracket, firsts.get(bracket.first)) for bracket in earlier]
    return all(after is not None and (after == bracket or _is_longer(after, bracket)) for bracket, after in pairs)


def survivors(results: Iterable[TrialResult], direction: str) -> list[Trial]:
    """Return the trials that may enter the next rung, best first, ties by trial number.

    Unranked trials (not finite, failed, diverged) are excluded.
    """
    return [result.trial for result in leaderboard(results, direction) if result.is_ranked]


def trial_count(brackets: Iterable[Bracket]) -> int:
    """Return the number of trials, each counted once for all its rungs."""
    return sum(bracket.trials for bracket in brackets)


def most_that_begin_alike(brackets: Iterable[Bracket], known: Collection[int]) -> tuple[int, frozenset[int]]:
    """Return the epochs of the first rung that most known trials enter, the earliest of equal ones, and their numbers.

    Their objectives there are comparable: none of them was dropped before. The first round of `auto` may begin later
    than the others. 0 without any; a search that ends early knows a part of its trials.
    """
    entered: dict[int, set[int]] = {}
    for bracket in brackets:
        entered.setdefault(bracket.rungs[0].epochs, set()).update(
            number for number in _numbers(bracket) if number in known
        )
    epochs = max(entered, key=lambda each: len(entered[each]), default=0)
    return epochs, frozenset(entered.get(epochs, ()))


def largest_cost_epochs(brackets: Iterable[Bracket]) -> int:
    """Return the maximum of trained epochs, without early stopping; a survivor continues from its last rung."""
    cost = 0
    for bracket in brackets:
        trained = bracket.begin
        for rung in bracket.rungs:
            cost += rung.trials * (rung.epochs - trained)
            trained = rung.epochs
    return cost


def planned_epochs(search: SearchSection, brackets: Iterable[Bracket]) -> int:
    """Return the maximum of epochs that a search trains, without early stopping and where no ranks of rungs agree."""
    planned = list(brackets)
    later = planned[1:] if search.adapts_rungs else []
    most = largest_cost_epochs(planned) - largest_cost_epochs(later) + search.epochs * trial_count(later)
    return min(most, search.total_epochs or most)


def admitted_trials(search: SearchSection, brackets: Iterable[Bracket]) -> int:
    """Return how many trials all epochs of a search admit, without early stopping, in rounds of their planned rungs.

    All trials without `total_epochs`: how many the hours admit is not known before the first.
    """
    planned = list(brackets)
    if search.total_epochs is None:
        return trial_count(planned)
    left, admitted = search.total_epochs, 0
    for bracket in planned:
        if (cost := largest_cost_epochs([bracket])) > left:
            return admitted + min(bracket.trials, left // bracket.rungs[0].epochs)
        left, admitted = left - cost, admitted + bracket.trials
    return admitted


def trainings(brackets: Iterable[Bracket]) -> int:
    """Return the number of trainings, one per trial and rung, without early stopping."""
    return sum(rung.trials for bracket in brackets for rung in bracket.rungs)


def most_trainings(search: SearchSection, brackets: Sequence[Bracket]) -> int:
    """Return about how many of these trainings a search has room for by its total of epochs; all without one."""
    if search.total_epochs is None:
        return trainings(brackets)
    share = search.total_epochs / max(1, largest_cost_epochs(brackets))
    return round(min(1.0, share) * trainings(brackets))


def finished_trainings(brackets: Sequence[Bracket], results: Iterable[TrialResult]) -> int:
    """Return the number of trainings that are finished according to the results."""
    rungs = {number: bracket.rungs for bracket in brackets for number in _numbers(bracket)}
    for bracket in brackets:
        if bracket.continued:
            rungs |= {number: (*rungs[number], *bracket.rungs) for number in range(bracket.first)}
    return sum(
        max(1, sum(rung.epochs <= result.epochs for rung in rungs.get(result.trial.number, ()))) for result in results
    )


def _is_longer(after: Bracket, bracket: Bracket) -> bool:
    is_flat = len(after.rungs) == len(bracket.rungs) == 1 and after.rungs[0].epochs == bracket.rungs[0].epochs
    return is_flat and after.trials >= bracket.trials


def _numbers(bracket: Bracket) -> range:
    return range(bracket.first, bracket.first + bracket.trials)


def _random(search: SearchSection, space: SearchSpace) -> tuple[Bracket, ...]:
    assert search.trials is not None  # the section requires it
    return (Bracket((Rung(search.trials, search.epochs),)),)


def _grid(search: SearchSection, space: SearchSpace) -> tuple[Bracket, ...]:
    return (Bracket((Rung(grid_size(space), search.epochs),)),)


def _successive_halving(search: SearchSection, space: SearchSpace) -> tuple[Bracket, ...]:
    """One bracket, with as many rungs as the epochs and trials allow (Jamieson, Talwalkar 2016)."""
    assert search.trials is not None
    return (Bracket(_halving(search, search.trials)),)


def _rounds(search: SearchSection, first_round: int, earlier_lengths: Sequence[int]) -> tuple[Bracket, ...]:
    """A bracket for each round of 16 trials, the last with what is left; each with rungs if a first rung is set.

    Also of a random search that may end early: it then has its first trials, not those of one graph key.
    """
    assert search.trials is not None
    begin = min(first_round, ROUND) if has_first_round(search) else ROUND
    found: tuple[Bracket, ...] = ()
    for end in [*(each for each in sorted(set(earlier_lengths)) if each < search.trials), search.trials]:
        filled = _rounds_to(search, found[:-1], begin, end)
        found = filled if can_extend(found, filled) else _rounds_to(search, found, begin, end)
    return found


def _rounds_to(search: SearchSection, before: tuple[Bracket, ...], begin: int, end: int) -> tuple[Bracket, ...]:
    """Return these rounds and, up to a number of trials, those after them; `begin` is the size of the first of all."""
    first = trial_count(before)
    firsts = [first, *range(first + (ROUND if first else begin), end, ROUND), end]
    sizes = [(first, after - first) for first, after in pairwise(firsts)]
    has_rungs, epochs = search.has_rungs, search.epochs
    return before + tuple(
        Bracket(_halving(search, trials) if has_rungs else (Rung(trials, epochs),), first) for first, trials in sizes
    )


def _hyperband(search: SearchSection, space: SearchSpace) -> tuple[Bracket, ...]:
    """Brackets from many short to few full trainings (Li et al. 2018, algorithm 1).

    Bracket s, from s_max down to 0, starts with n = ⌈(s_max + 1) η^s / (s + 1)⌉ trials of R η^−s epochs. The sizes
    follow the formula, which differs from the table in the paper.
    """
    most, found, first = _drops(search.epochs, search.first_rung_epochs, search.factor), [], 0
    for drops in range(most, -1, -1):
        trials = -(-(most + 1) * search.factor**drops // (drops + 1))
        found.append(Bracket(_rungs(trials, search.epochs, search.factor, drops), first))
        first += trials
    return tuple(found)


def _halving(search: SearchSection, trials: int) -> tuple[Rung, ...]:
    drops = min(_drops(search.epochs, search.first_rung_epochs, search.factor), _drops(trials, 1, search.factor))
    return _rungs(trials, search.epochs, search.factor, drops)


def _rungs(trials: int, epochs: int, factor: int, drops: int) -> tuple[Rung, ...]:
    """The rungs of a bracket, the last with all epochs; trials and epochs are rounded down."""
    return tuple(Rung(trials // factor**rung, epochs // factor ** (drops - rung)) for rung in range(drops + 1))


def _drops(whole: int, smallest: int, factor: int) -> int:
    """How often a whole can be divided by the factor without falling below the smallest value."""
    drops = 0
    while whole >= smallest * factor ** (drops + 1):
        drops += 1
    return drops


# Of the methods that propose no points from results; the others have rounds.
BUDGETS: dict[str, Callable[[SearchSection, SearchSpace], tuple[Bracket, ...]]] = {
    "random": _random,
    "grid": _grid,
    "successive_halving": _successive_halving,
    "hyperband": _hyperband,
    "pbt": lambda search, space: generations(search),
}
