"""What a model expects before it has results: scores that configurations had on other data, as a mean to begin from."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import sqrt

import numpy as np

from nightune.tuning.search.encoding import Encoding
from nightune.tuning.search.new_points import Point, Points
from nightune.tuning.search.one_thread import one_thread
from nightune.tuning.search.search_space import SearchSpace
from nightune.tuning.search.surrogate import Posterior, Surrogate, fitted, posterior

BEST = 64  # recorded points that are candidates of a round
# Before there are results, scores of random points follow the prior as on recorded data, as if so many had shown it.
CORRELATION, RESULTS = 0.9, 8.0
LEAST_SPREAD, LEAST_REST = 0.3, 0.2  # of the prior among the results, and of the scores beside it: below, it is noise


@dataclass(frozen=True, eq=False)
class PriorMean:
    """Points of a space with the scores that their configurations had on other data: lower is better, 1 a deviation."""

    space: SearchSpace
    points: Sequence[Point]
    scores: np.ndarray

    def __call__(self, points: Sequence[Point]) -> np.ndarray:
        """Return the scores to expect of points of the space: those of recorded points near them."""
        return self._model.mean(self._encode(points))

    @property
    def best(self) -> Points:
        """The recorded points with the best scores, best first."""
        order = np.argsort(self.scores, kind="stable")[:BEST]
        return [dict(self.points[place]) for place in order]

    @cached_property
    def _encode(self) -> Encoding:
        return Encoding(self.space)

    @cached_property
    def _model(self) -> Surrogate:
        encode = self._encode
        return fitted(encode(self.points), self.scores, encode.groups)


@one_thread()
def expected_scores(
    space: SearchSpace,
    known: Sequence[Point],
    scores: np.ndarray,
    points: Sequence[Point],
    prior: PriorMean | None = None,
) -> Posterior:
    """Return what a Gaussian process of the scores of known points expects at points of the space.

    `scores` have mean 0 and variance 1. With a prior the scores are its multiple, fitted to them, and a Gaussian
    process of the rest: where the prior is wrong the multiple becomes 0. Among points that are alike in the prior its
    correlation is lower than among random ones (Thorndike 1949, restriction of range).
    """
    encode = Encoding(space)
    rows, places = encode(known), encode(points)
    if prior is None:
        return posterior(rows, scores, encode.groups, places)
    at_known = prior(known)
    centre, spread = float(at_known.mean()), max(float(at_known.std()), LEAST_SPREAD)
    away = (at_known - centre) / spread
    expected = CORRELATION * spread / sqrt(1 - CORRELATION**2 * (1 - float(at_known.var())))
    slope = (float(away @ scores) + RESULTS * expected) / (float(away @ away) + RESULTS)
    rest = scores - slope * away
    scale = max(float(rest.std()), LEAST_REST)
    found = posterior(rows, (rest - rest.mean()) / scale, encode.groups, places)
    mean = slope * (prior(points) - centre) / spread + rest.mean() + scale * found.mean
    return Posterior(mean, scale**2 * found.covariance, scale**2 * found.noise)
