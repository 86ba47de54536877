"""What a Gaussian process of the results before expects of points, in the unit of the objective."""

from collections.abc import Sequence

import numpy as np

from nightune.tuning.search.gaussian_process import LEAST_FINITE, candidates_of, scaled
from nightune.tuning.search.new_points import Point
from nightune.tuning.search.observations import Observation, comparable, compared_epochs
from nightune.tuning.search.prior_mean import PriorMean, expected_scores
from nightune.tuning.search.search_space import SearchSpace
from nightune.tuning.trial import Expectation
from nightune.vocabulary import sign_of


def expectations(
    space: SearchSpace,
    observations: Sequence[Observation],
    points: Sequence[Point],
    direction: str,
    prior: PriorMean | None = None,
) -> list[Expectation | None]:
    """Return what a model of the observations expects of each point: a function of the arguments alone.

    The value is the median of a training's objective, the deviation half of the central 68%, with the noise between
    trainings. `prior` is what was expected before. None for all with fewer than three finite losses, where points are
    drawn at random.
    """
    seen = comparable(sorted(observations, key=lambda each: each.number))
    losses = np.array([loss for _, loss in seen])
    if not points or np.isfinite(losses).sum() < LEAST_FINITE or not space.varying:
        return [None] * len(points)
    known, scale = scaled(losses)
    model = expected_scores(space, [each.point for each, _ in seen], known, points, prior)
    reach = np.sqrt(np.maximum(np.diagonal(model.covariance), 0.0) + model.noise)
    middle, low, high = (scale.losses(model.mean + sign * reach) for sign in (0, -1, 1))
    epochs, sign = compared_epochs(observations), sign_of(direction)
    pairs = zip((sign * middle).tolist(), ((high - low) / 2).tolist(), strict=True)
    return [Expectation(*pair, epochs=epochs) if np.isfinite(pair).all() else None for pair in pairs]


def expected_best(
    space: SearchSpace,
    observations: Sequence[Observation],
    direction: str,
    seed: Sequence[int],
    prior: PriorMean | None = None,
) -> tuple[Point, Expectation] | None:
    """Return the point of the best expected objective, and what is expected of it; None without a model.

    It is one of the observed points, of changes of the best of them, and of points at random.
    """
    ordered = sorted(observations, key=lambda each: each.number)
    seen = comparable(ordered)
    losses = np.array([loss for _, loss in seen])
    if np.isfinite(losses).sum() < LEAST_FINITE or not space.varying:
        return None
    known = [each.point for each, _ in seen]
    points = [*known, *candidates_of(space, known, losses, known, seed, None, () if prior is None else prior.best)]
    found = zip(points, expectations(space, ordered, points, direction, prior), strict=True)
    sign = sign_of(direction)
    held = [(point, expected) for point, expected in found if expected is not None]
    return min(held, key=lambda each: sign * each[1].value, default=None)
