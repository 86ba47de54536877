"""The effect of each dimension with all others averaged out, with intervals over resampled trials.

A conditional dimension is examined among the trials in which it is active, with the dimensions that all of these have.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nightune.tuning.analysis.fanova import GRID, MINIMUM_ROWS, explained_share, marginals
from nightune.tuning.analysis.importance import TRUSTED_EXPLAINED, active_groups
from nightune.tuning.search.search_space import Dimension, SearchSpace, places_of
from nightune.tuning.trial import TrialResult

RESAMPLES = 24
INTERVAL = (0.1, 0.9)  # quantiles over resamples
CERTAIN_SHARE = 0.04  # of the variance: a resampled forest finds less than this in noise nine times in ten
SMALL_SHARE = 0.06
FEWEST_FOR_IDLE = 30  # trials: of fewer, a forest overlooks an option that causes a seventh of the variance


@dataclass(frozen=True, eq=False)
class Effect:
    """One dimension among the trials in which it is active: its share of the variance, and the scores along it.

    `middle`, `low` and `high` are expected scores at the places `GRID` of the dimension, in [0, 1]. Shares are in
    [0, 1], those of the effects that other dimensions do not change.
    """

    dimension: Dimension
    trials: int
    share: float
    share_low: float
    share_high: float
    explained: float
    middle: np.ndarray  # (128,)
    low: np.ndarray
    high: np.ndarray

    @property
    def name(self) -> str:
        """The name of the dimension."""
        return self.dimension.name

    @property
    def matters(self) -> bool:
        """True if the effect is more than chance makes."""
        return self.share_low > CERTAIN_SHARE

    @property
    def is_idle(self) -> bool:
        """True if next to nothing of what the forest explains is due to this dimension."""
        return self.trials >= FEWEST_FOR_IDLE and self.share_high < SMALL_SHARE


def effects(
    space: SearchSpace, ranked: Sequence[TrialResult], score: Callable[[float], float], seed: int
) -> list[Effect]:
    """Return the effects of the searched dimensions, those that matter first, then by share; deterministic.

    `score` turns an objective into the number whose variance is explained. Dimensions are left out where a forest
    explains too little of it to say anything: all of noise, those of fewer than ten trials, or of equal scores.
    """
    values = np.array([score(result.objective) for result in ranked])
    searched = [space.by_name[name] for name in space.varying]
    rows = [places_of(searched, result.trial.params) for result in ranked]
    found: list[Effect] = []
    for active, members in active_groups(searched, rows).items():
        if len(active) >= MINIMUM_ROWS and float(np.ptp(values[list(active)])) > 0.0:
            shared = [each.name for each in searched if all(each.name in rows[n] for n in active)]
            places = np.array([[rows[n][name] for name in shared] for n in active])
            found += _group(members, shared, places, values[list(active)], seed)
    return sorted(found, key=lambda each: (not each.matters, -each.share, each.name))


def _group(
    members: Sequence[Dimension], shared: Sequence[str], places: np.ndarray, values: np.ndarray, seed: int
) -> list[Effect]:
    generator = np.random.default_rng(seed)
    explained = explained_share(places, values, seed)
    if explained < TRUSTED_EXPLAINED:
        return []
    curves, shares = [], []
    for turn in range(RESAMPLES):
        drawn = generator.integers(0, len(values), len(values))
        if float(np.ptp(values[drawn])) == 0.0:
            continue
        each = marginals(places[drawn], values[drawn], seed + turn)
        curves.append(each.curves)
        shares.append(each.shares)
    low, middle, high = np.quantile(np.array(curves), [INTERVAL[0], 0.5, INTERVAL[1]], axis=0)
    share_low, share, share_high = np.quantile(np.array(shares), [INTERVAL[0], 0.5, INTERVAL[1]], axis=0)
    effects = []
    for dimension in members:
        n = shared.index(dimension.name)
        numbers = (float(share[n]), float(share_low[n]), float(share_high[n]), explained)
        effects.append(Effect(dimension, len(values), *numbers, middle[n], low[n], high[n]))
    return effects


__all__ = ["GRID", "Effect", "effects"]
