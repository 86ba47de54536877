"""Importance of a sweep's dimensions: the share of the objective's variance that each causes, and hits at range ends.

A conditional dimension is evaluated on the trials in which it is active, together with all dimensions that are active
in all of these trials.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import comb
from typing import Literal

import numpy as np

from nightune.tuning.analysis.better_values import better_values
from nightune.tuning.analysis.fanova import MINIMUM_ROWS, variance_shares
from nightune.tuning.analysis.leaderboard import leaderboard
from nightune.tuning.search.domains import Range
from nightune.tuning.search.search_space import Dimension, SearchSpace
from nightune.tuning.trial import Params, TrialResult

TOP_SHARE = 0.25  # of the ranked trials
EDGE = 0.25  # of a range, at each end
TRUSTED_EXPLAINED = 0.2  # of the variance, out of bag; below, the surrogate has learned next to nothing
SMALL_SHARE = 0.05  # of the variance, below which no value of a dimension is called better
CHANCE = 0.01  # significance level of so many top trials at one end


@dataclass(frozen=True, slots=True)
class Importance:
    """One dimension's share of the variance over the trials in which it is active; None for too few trials.

    `explained` is the variance that the surrogate forest explains out of bag: if it is low, shares are unreliable.
    `better` says which values are better; empty if the share is small or unreliable, and in earlier sweeps.
    """

    name: str
    share: float | None
    explained: float | None
    trials: int
    better: str = ""


def is_trusted(importance: Importance) -> bool:
    """True if the surrogate explains enough of the variance for the share to mean something."""
    return importance.explained is not None and importance.explained >= TRUSTED_EXPLAINED


@dataclass(frozen=True, slots=True)
class Edge:
    """Many of the top trials lie at one end of a range: the optimum may be beyond it."""

    name: str
    end: str  # "low" or "high"
    value: float
    trials: int  # top trials at this end
    best: int  # top trials in which the dimension is active


@dataclass(frozen=True, slots=True)
class WhatMattered:
    """The dimensions, by number of active trials, then by share; and the range ends that were hit.

    `epochs` are those of the rung at which the trials were compared; None if each was trained in full.
    """

    dimensions: tuple[Importance, ...]
    edges: tuple[Edge, ...]
    epochs: int | None = None


def what_mattered(space: SearchSpace, results: Sequence[TrialResult], direction: str, seed: int) -> WhatMattered:
    """Compute the importance of the searched dimensions from the ranked results; deterministic."""
    ranked = [result for result in leaderboard(results, direction) if result.is_ranked]
    searched = [space.by_name[name] for name in space.varying]
    rows = [_places(searched, result.trial.params) for result in ranked]
    values = _clipped(np.array([result.objective for result in ranked]))
    found = [
        each
        for active, members in active_groups(searched, rows).items()
        for each in _importances([each.name for each in members], [rows[n] for n in active], values[list(active)], seed)
    ]
    found = [_with_better(each, space.by_name[each.name], ranked, direction) for each in found]
    found.sort(key=lambda each: (-each.trials, -(each.share or 0.0), each.name))
    edges = [edge for dimension in searched for edge in _edges(dimension, ranked)]
    return WhatMattered(tuple(found), tuple(edges))


def by_importance(names: Iterable[str], mattered: WhatMattered | None) -> list[str]:
    """Sort params: those first that caused most of the differences, then those of most trials, then by name."""
    held = {} if mattered is None else {each.name: each for each in mattered.dimensions}
    most = max((each.trials for each in held.values()), default=0)

    def place(name: str) -> tuple[float, int, str]:
        known = held.get(name)
        if known is None or not most:
            return 0.0, 0, name
        weight = (known.share or 0.0) * known.trials / most if is_trusted(known) else 0.0
        return -weight, -known.trials, name

    return sorted(names, key=place)


def active_groups(
    dimensions: Sequence[Dimension], rows: Sequence[Mapping[str, float]]
) -> dict[tuple[int, ...], list[Dimension]]:
    """Group the dimensions by the numbers of the rows in which they are active."""
    groups: dict[tuple[int, ...], list[Dimension]] = {}
    for dimension in dimensions:
        active = tuple(number for number, row in enumerate(rows) if dimension.name in row)
        groups.setdefault(active, []).append(dimension)
    return groups


def drawn_by_chance(count: int, there: int, drawn: int, at_least: int) -> float:
    """Return the probability that at least so many of `drawn` of `count` trials are among the `there` of a kind.

    The distribution is hypergeometric.
    """
    ways = range(at_least, min(there, drawn) + 1)
    return sum(comb(there, hits) * comb(count - there, drawn - hits) for hits in ways) / comb(count, drawn)


def _places(dimensions: Sequence[Dimension], params: Params) -> dict[str, float]:
    """The position in [0, 1] of each active dimension."""
    return {
        each.name: each.domain.under(params).to_unit(params[each.name]) for each in dimensions if each.name in params
    }


def _clipped(values: np.ndarray) -> np.ndarray:
    """Clip values to three interquartile ranges outside the quartiles, so that one outlier does not dominate."""
    if len(values) == 0:
        return values
    low, high = np.quantile(values, [0.25, 0.75])
    reach = 3.0 * (high - low)
    return np.clip(values, low - reach, high + reach) if reach > 0.0 else values


def _importances(
    names: Sequence[str], rows: Sequence[Mapping[str, float]], values: np.ndarray, seed: int
) -> list[Importance]:
    """The importance of the named dimensions, by a forest on all dimensions that are active in all rows."""
    shared = sorted(name for name in (rows[0] if rows else ()) if all(name in row for row in rows))
    places = np.array([[row[name] for name in shared] for row in rows])
    shares = variance_shares(places, values, seed) if len(rows) >= MINIMUM_ROWS else None
    if shares is None:
        return [Importance(name, None, None, len(rows)) for name in names]
    share_of = dict(zip(shared, shares.shares, strict=True))
    return [Importance(name, share_of[name], shares.explained, len(rows)) for name in names]


def _with_better(
    importance: Importance, dimension: Dimension, ranked: Sequence[TrialResult], direction: str
) -> Importance:
    if not is_trusted(importance) or (importance.share or 0.0) < SMALL_SHARE:
        return importance
    tried = [(each.trial.params, each.objective) for each in ranked if dimension.name in each.trial.params]
    return replace(importance, better=better_values(dimension.name, dimension.domain, tried, direction))


def _edges(dimension: Dimension, ranked: Sequence[TrialResult]) -> list[Edge]:
    """The ends of a range with significantly more top trials than by chance."""
    if not isinstance(dimension.domain, Range):
        return []
    return [
        Edge(dimension.name, hits.end, float(getattr(dimension.domain, hits.end)), hits.trials, hits.best)
        for hits in end_hits(dimension.name, dimension.domain, ranked)
        if hits.chance < CHANCE
    ]


@dataclass(frozen=True, slots=True)
class EndHits:
    """How many of the best trials lie at one end of a range, and the chance of so many if no value is better.

    Chance is that of drawing the best from all trials (hypergeometric), so that it holds for every kind of search.
    """

    end: Literal["low", "high"]
    trials: int
    best: int
    chance: float


def end_hits(name: str, domain: Range, ranked: Sequence[TrialResult]) -> Iterator[EndHits]:
    """Yield the ends at which two or more of the best ranked trials lie, from all ranked trials, best first."""
    held = [domain.to_unit(each.trial.params[name]) if name in each.trial.params else None for each in ranked]
    places = [place for place in held if place is not None]
    best = [place for place in held[: round(TOP_SHARE * len(ranked))] if place is not None]
    ends: tuple[Literal["low", "high"], ...] = ("low", "high")
    for end in ends:
        there, hits = (
            sum(place <= EDGE if end == "low" else place >= 1 - EDGE for place in each) for each in (places, best)
        )
        if hits > 1:
            yield EndHits(end, hits, len(best), drawn_by_chance(len(places), there, len(best), hits))
