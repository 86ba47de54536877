"""Begin a search with the best points of earlier ones, and let a model learn from their trials if these agree."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nightune.tuning.search.encoding import Encoding
from nightune.tuning.search.gaussian_process import LEAST_FINITE, scores
from nightune.tuning.search.observations import Observation
from nightune.tuning.search.rung_agreement import rank_correlation
from nightune.tuning.search.search_space import SearchSpace
from nightune.tuning.search.surrogate import posterior
from nightune.tuning.trial import Params, TrialResult, Value
from nightune.vocabulary import CHANGES, sign_of

BEST = 5  # points of the last sweep that begin the next one
LEAST_AGREEMENT = 0.5  # rank correlation of what earlier trials predict and what was found since
LEAST_COMPARED = 8  # trials since, below which agreement is not known
MOST_TRIALS = 300  # earlier trials, the newest ones, that a model learns from


@dataclass(frozen=True)
class Agreement:
    """How far earlier trials predict what was found since: a rank correlation, and the median difference of losses."""

    correlation: float
    shift: float

    @property
    def is_enough(self) -> bool:
        """True if a model may learn from the earlier trials."""
        return self.correlation >= LEAST_AGREEMENT


def point_of(space: SearchSpace, params: Params) -> dict[str, Value] | None:
    """Return the point of the space with these params; None if the space has none, or a param is missing.

    A training whose values changed by epochs, as of a population, is no point of a space without changes.
    """
    if isinstance(params.get(CHANGES), Mapping) and CHANGES not in space.by_name:
        return None
    point: dict[str, Value] = {}
    for dimension in space.in_control_order:
        if not dimension.is_active(point):
            continue
        domain = dimension.domain.under(point)
        value = domain.from_unit(0.0) if domain.is_fixed else params.get(dimension.name)
        if not domain.contains(value):
            return None
        point[dimension.name] = value
    return dict(sorted(point.items()))


def best_points(
    space: SearchSpace, results: Sequence[TrialResult], direction: str, first: Sequence[Params] = ()
) -> list[dict[str, Value]]:
    """Return the points of `first`, then at most `BEST` others of the best results, each once and in this space.

    Unranked results and params outside the space are left out.
    """
    sign = sign_of(direction)
    ranked = sorted(
        (each for each in results if each.is_ranked), key=lambda each: (sign * each.objective, each.trial.number)
    )
    found: list[dict[str, Value]] = []
    for params in first:
        _add(found, point_of(space, params))
    before = len(found)
    for each in ranked:
        if len(found) - before == BEST:
            break
        _add(found, point_of(space, each.trial.params))
    return found


def agreement(space: SearchSpace, earlier: Sequence[Observation], since: Sequence[Observation]) -> Agreement | None:
    """Compare what a model of earlier trials predicts with what was found since; None if either has too few trials."""
    epochs = _common_epochs(earlier, since)
    known, found = (
        [(each.point, loss) for each in some if math.isfinite(loss := each.losses.get(epochs, math.nan))]
        for some in (earlier[-MOST_TRIALS:], since)
    )
    if len(known) < max(LEAST_FINITE, LEAST_COMPARED) or len(found) < LEAST_COMPARED or not space.varying:
        return None
    encode = Encoding(space)
    losses, places = np.array([loss for _, loss in known]), encode([point for point, _ in found])
    expected = posterior(encode([point for point, _ in known]), scores(losses), encode.groups, places).mean
    observed = np.array([loss for _, loss in found])
    if np.ptp(expected) == 0 or np.ptp(observed) == 0:
        return Agreement(0.0, 0.0)
    # The model predicts scores; the earlier loss of the same rank is what it expects.
    as_losses = np.interp(expected, np.sort(scores(losses)), np.sort(losses))
    return Agreement(
        rank_correlation(list(zip(expected, observed, strict=True))), float(np.median(observed - as_losses))
    )


def _common_epochs(earlier: Sequence[Observation], since: Sequence[Observation]) -> int:
    """Return the epochs of the highest rung at which both have enough finite losses; else of that with most since."""

    def count(some: Sequence[Observation], epochs: int) -> int:
        return sum(math.isfinite(each.losses.get(epochs, math.nan)) for each in some)

    epochs = sorted({each for seen in since for each in seen.losses}, reverse=True)
    enough = (each for each in epochs if min(count(earlier, each), count(since, each)) >= LEAST_COMPARED)
    return next(enough, max(epochs, key=lambda each: count(since, each), default=0))


def as_earlier(observations: Sequence[Observation], shift: float = 0.0) -> list[Observation]:
    """Return the newest observations under numbers below 0, in their order, with this added to their losses."""
    kept = observations[-MOST_TRIALS:]
    return [
        replace(each, number=place - len(kept), losses=_shifted(each.losses, shift)) for place, each in enumerate(kept)
    ]


def _shifted(losses: Mapping[int, float], shift: float) -> dict[int, float]:
    return {epochs: loss + shift for epochs, loss in losses.items()}


def _add(found: list[dict[str, Value]], point: dict[str, Value] | None) -> None:
    if point is not None and point not in found:
        found.append(point)
