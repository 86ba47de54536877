"""Which dimensions mattered in a sweep: what part of the objective's variance each causes, and where the best lie.

A dimension that counts in some trials only is judged among these, beside all others that count throughout them; the
one that switches it is judged where it counts itself, which is for the first switch in all trials.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

from nightune.tuning.analysis.fanova import FEWEST_ROWS, variance_shares
from nightune.tuning.analysis.leaderboard import leaderboard
from nightune.tuning.search.domains import Range
from nightune.tuning.search.search_space import Dimension, SearchSpace
from nightune.tuning.trial import Params, TrialResult

TOP_SHARE = 0.25  # of the ranked trials are the best
EDGE = 0.25  # of a range, at each end
CHANCE = 0.01  # of as many of the best at one end, had they fallen anywhere


@dataclass(frozen=True, slots=True)
class Importance:
    """One dimension's share of the variance among the trials that it counts in; the share is None of too few.

    `explained` is what a forest can foretell of these trials' objectives: where it is low, shares mean little.
    """

    name: str
    share: float | None
    explained: float | None
    trials: int


@dataclass(frozen=True, slots=True)
class Edge:
    """Many of the best trials lie at one end of a range: the optimum may be beyond it."""

    name: str
    end: str  # "low" or "high"
    value: float
    trials: int  # of the best that lie there
    best: int  # of the best that the dimension counts in


@dataclass(frozen=True, slots=True)
class WhatMattered:
    """The dimensions, those that count in most trials first, then by their shares; and the ends that were hit."""

    dimensions: tuple[Importance, ...]
    edges: tuple[Edge, ...]


def what_mattered(space: SearchSpace, results: Sequence[TrialResult], direction: str, seed: int) -> WhatMattered:
    """Judge the searched dimensions by the ranked results; the same arguments give the same."""
    ranked = [result for result in leaderboard(results, direction) if result.is_ranked]
    searched = [space.by_name[name] for name in space.varying]
    rows = [_places(searched, result.trial.params) for result in ranked]
    values = _tamed(np.array([result.objective for result in ranked]))
    groups: dict[tuple[int, ...], list[str]] = {}
    for dimension in searched:
        active = tuple(number for number, row in enumerate(rows) if dimension.name in row)
        groups.setdefault(active, []).append(dimension.name)
    found = [
        each
        for active, names in groups.items()
        for each in _judged(names, [rows[n] for n in active], values[list(active)], seed)
    ]
    found.sort(key=lambda each: (-each.trials, -(each.share or 0.0), each.name))
    best = ranked[: round(TOP_SHARE * len(ranked))]
    edges = [edge for dimension in searched for edge in _edges(dimension, [result.trial.params for result in best])]
    return WhatMattered(tuple(found), tuple(edges))


def _places(dimensions: Sequence[Dimension], params: Params) -> dict[str, float]:
    """Where in [0, 1] each dimension that counts lies."""
    return {
        each.name: each.domain.under(params).to_unit(params[each.name]) for each in dimensions if each.name in params
    }


def _tamed(values: np.ndarray) -> np.ndarray:
    """Values far outside the middle half count as its far end: one trial that went astray would explain everything."""
    if len(values) == 0:
        return values
    low, high = np.quantile(values, [0.25, 0.75])
    reach = 3.0 * (high - low)
    return np.clip(values, low - reach, high + reach) if reach > 0.0 else values


def _judged(
    names: Sequence[str], rows: Sequence[Mapping[str, float]], values: np.ndarray, seed: int
) -> list[Importance]:
    """The dimensions that count in just these rows, by a forest on all that count in all of them."""
    shared = sorted(name for name in (rows[0] if rows else ()) if all(name in row for row in rows))
    places = np.array([[row[name] for name in shared] for row in rows])
    judged = variance_shares(places, values, seed) if len(rows) >= FEWEST_ROWS else None
    if judged is None:
        return [Importance(name, None, None, len(rows)) for name in names]
    share_of = dict(zip(shared, judged.shares, strict=True))
    return [Importance(name, share_of[name], judged.explained, len(rows)) for name in names]


def _edges(dimension: Dimension, best: Sequence[Params]) -> list[Edge]:
    """The ends of a range that hold more of the best than chance would put there."""
    if not isinstance(dimension.domain, Range):
        return []
    domain = dimension.domain
    places = [domain.to_unit(params[dimension.name]) for params in best if dimension.name in params]
    at_ends = {
        "low": (domain.low, sum(p <= EDGE for p in places)),
        "high": (domain.high, sum(p >= 1 - EDGE for p in places)),
    }
    return [
        Edge(dimension.name, end, float(value), count, len(places))
        for end, (value, count) in at_ends.items()
        if count > 1 and _chance(len(places), count) < CHANCE
    ]


def _chance(count: int, at_least: int) -> float:
    """The probability that so many of some independent uniform places lie in one edge."""
    return sum(comb(count, hits) * EDGE**hits * (1 - EDGE) ** (count - hits) for hits in range(at_least, count + 1))
