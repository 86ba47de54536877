"""Budgets as data: how many trials are trained for how long, and who goes on."""

from collections.abc import Iterable, Sequence

from tuning.analysis import leaderboard
from tuning.grid import grid_size
from tuning.search_space import SearchSpace
from tuning.sections import SearchSection
from tuning.trial import Bracket, Rung, TrialResult


def brackets(search: SearchSection, space: SearchSpace) -> tuple[Bracket, ...]:
    """Return the budget of a search: for random and grid, one bracket of one rung."""
    trials = grid_size(space) if search.trials is None else search.trials
    return (Bracket((Rung(trials, search.epochs),)),)


def survivors(results: Iterable[TrialResult], rung_trials: int, direction: str) -> list[TrialResult]:
    """Return the best results, `rung_trials` at most, best first, ties by trial number.

    What has no rank (not finite, failed, diverged) never survives, so there may be fewer.
    """
    return [result for result in leaderboard(results, direction) if result.is_ranked][:rung_trials]


def largest_cost_epochs(brackets: Sequence[Bracket]) -> int:
    """Return the epochs trained if nothing stops early; a survivor goes on from where its last rung ended."""
    cost = 0
    for bracket in brackets:
        trained = 0
        for rung in bracket.rungs:
            cost += rung.trials * (rung.epochs - trained)
            trained = rung.epochs
    return cost
