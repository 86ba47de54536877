"""Measure whether the first epochs of a training predict the last ones, from the trials that a search has halted."""

import math
from collections.abc import Sequence

from nightune.tuning.search.observations import Observation

LEAST_COMPARED = 8  # trials with a loss at both rungs, below which nothing is known
LEAST_CORRELATION = 0.2  # of the ranks at a rung and at a later one, among trials that were good at the first


def unreliable_rungs(epochs: Sequence[int], observations: Sequence[Observation]) -> int:
    """Return how many of the first rungs, given by their epochs, rank trials otherwise than later ones do.

    A rung is compared with the last one that enough of its trials have reached. Only the better half of the trials of a
    rung enters the next one, so that their ranks correlate less than those of all trials would.
    """
    for place, each in enumerate(epochs[:-1]):
        later = (_pairs(observations, each, other) for other in reversed(epochs[place + 1 :]))
        pairs = next((found for found in later if len(found) >= LEAST_COMPARED), [])
        correlation = rank_correlation(pairs)
        if math.isnan(correlation) or correlation >= LEAST_CORRELATION:
            return place
    return len(epochs) - 1


def rank_correlation(pairs: Sequence[tuple[float, float]]) -> float:
    """Return Spearman's correlation of pairs of losses; NaN for fewer than three, or if all of one side are equal."""
    if len(pairs) < 3 or any(len(set(side)) == 1 for side in zip(*pairs, strict=True)):
        return math.nan
    from scipy.stats import spearmanr  # noqa: PLC0415 - takes a moment, and most searches compute none

    first, second = zip(*pairs, strict=True)
    return float(spearmanr(first, second).statistic)


def _pairs(observations: Sequence[Observation], epochs: int, later: int) -> list[tuple[float, float]]:
    """Return the losses at both rungs of the trials that have finite ones."""
    found = [(each.losses.get(epochs, math.nan), each.losses.get(later, math.nan)) for each in observations]
    return [pair for pair in found if all(map(math.isfinite, pair))]
