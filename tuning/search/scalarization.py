"""Propose for several objectives: a model of one number for each part of a round, weighed in another direction."""

from collections.abc import Sequence

import numpy as np

from nightune.tuning.search.gaussian_process import scores
from nightune.tuning.search.new_points import Point, Points
from nightune.tuning.search.observations import Observation, comparable, compared_epochs
from nightune.tuning.search.proposals import Proposer
from nightune.tuning.search.search_space import SearchSpace

PART = 4  # trials of a round that are proposed for the same weights
SHARE_OF_SUM = 0.05  # of points alike in the worst objective, the better one is preferred (Knowles 2006, equation 2)
_OF_WEIGHTS, _OF_PARTS = 8, 16  # streams of the seed


def propose(
    proposer: Proposer,
    space: SearchSpace,
    observations: Sequence[Observation],
    pending: Sequence[Point],
    count: int,
    seed: Sequence[int],
) -> Points:
    """Return what the proposer returns; with further objectives, part by part from scalarized losses.

    Each part of a round has weights of its own, drawn from the seed and the part's number, so that its points lie along
    the front (ParEGO; Knowles 2006). A function of the arguments, whose first points do not depend on their number.
    """
    if not any(each.further for each in observations):
        return proposer(space, observations, pending, count, seed)
    objectives = 1 + max(len(each.further) for each in observations)
    points: Points = []
    while len(points) < count:
        place = len(pending) + len(points)
        part, left = place // PART, PART - place % PART
        weights = np.random.default_rng([*seed, _OF_WEIGHTS, part + 1]).dirichlet(np.ones(objectives))
        losses = scalarized(observations, weights)
        points += proposer(
            space, losses, [*pending, *points], min(left, count - len(points)), [*seed, _OF_PARTS + part]
        )
    return points


def scalarized(observations: Sequence[Observation], weights: np.ndarray) -> list[Observation]:
    """Return the observations with one loss: the augmented Chebyshev norm of their weighted objectives.

    Each objective is put on the scale of scores, then on [0, 1]. NaN where one objective is not finite.
    """
    epochs, seen = compared_epochs(observations), comparable(observations)
    losses = np.array([[loss, *_further(each, len(weights) - 1)] for each, loss in seen], dtype=float)
    whole = np.isfinite(losses).all(axis=1)
    if not whole.any():
        return [Observation(each.number, each.point, {epochs: float("nan")}) for each, _ in seen]
    places = np.stack([_unit(scores(column)) for column in losses[whole].T], axis=1) * weights
    found = np.full(len(seen), np.nan)
    found[whole] = places.max(axis=1) + SHARE_OF_SUM * places.sum(axis=1)
    return [
        Observation(each.number, each.point, {epochs: loss})
        for (each, _), loss in zip(seen, found.tolist(), strict=True)
    ]


def _further(observation: Observation, count: int) -> list[float]:
    return [*observation.further, *[float("nan")] * count][:count]


def _unit(values: np.ndarray) -> np.ndarray:
    return np.asarray((values - values.min()) / max(float(np.ptp(values)), 1e-12))
