"""Propose points from results: expected improvement under a Gaussian process, a batch at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from nightune.tuning.search.domains import Choice
from nightune.tuning.search.guidance import NO_GUIDANCE, Guidance
from nightune.tuning.search.new_points import Point, Points, filled, new_points
from nightune.tuning.search.observations import Observation, comparable
from nightune.tuning.search.prior_mean import expected_scores
from nightune.tuning.search.proposals import Proposer
from nightune.tuning.search.search_space import SearchSpace
from nightune.tuning.search.structures import KnownStructures
from nightune.tuning.search.surrogate import Posterior
from nightune.tuning.trial import Value

LEAST_FINITE = 3  # finite losses, below which points are random
RANDOM_CANDIDATES, BEST, STEPS, NEAR = 500, 8, (0.25, 0.08, 0.03), 16
FLIP = 0.2  # the share of a candidate's options that are drawn anew, near a good point
BAD_LIMIT, GOOD_LIMIT = 3.0, -6.0  # of scores, in deviations
_ANYWHERE, _NEAR_BEST = 1, 2  # streams of the seed, beside those of `filled`; a stream 0 would be the seed's own


def gaussian_process(
    space: SearchSpace,
    observations: Sequence[Observation],
    pending: Sequence[Point],
    count: int,
    seed: Sequence[int],
    among: Sequence[Point] | None = None,
    guidance: Guidance = NO_GUIDANCE,
) -> Points:
    """Return `count` new points: those of the largest expected improvement, each given those before it.

    `pending` are points without results yet, which are not proposed again. The points are a function of the arguments
    alone, and fewer are the first of more. Failed and diverged trials count as the worst. `among` are the only points
    that may be proposed, as of a recorded search: then there may be fewer than `count`. The prior of
    `guidance` is what the model expects before it has results; with its structure a point of a known structure is
    preferred to one that is hardly better.
    """
    if count <= 0:
        return []
    seen = comparable(observations)
    taken = [*(each.point for each in observations), *pending]
    losses = np.array([loss for _, loss in seen])
    if np.isfinite(losses).sum() < LEAST_FINITE or not space.varying:
        return filled([], space, taken, count, seed, among)
    known = [each.point for each, _ in seen]
    prior = guidance.prior
    candidates = candidates_of(space, known, losses, taken, seed, among, () if prior is None else prior.best)
    # Known points are among the places: the best of their means is what has to be improved.
    model = expected_scores(space, known, scores(losses), [*known, *pending, *candidates], prior)
    structures = KnownStructures(guidance.structure, taken)
    chosen = _greedy(model, len(known), len(pending), count, lambda gains: structures.best(gains, candidates))
    return filled([candidates[place] for place in chosen], space, taken, count, seed, among)


def guided_gaussian_process(guidance: Guidance) -> Proposer:
    """Return `gaussian_process` with what guides it beside results."""
    return partial(gaussian_process, guidance=guidance)


def candidates_of(
    space: SearchSpace,
    known: Sequence[Point],
    losses: np.ndarray,
    taken: Sequence[Point],
    seed: Sequence[int],
    among: Sequence[Point] | None = None,
    further: Sequence[Point] = (),
) -> Points:
    """Return points that are not taken: changes of the known ones with the lowest losses, points at random, `further`.

    `among`, if given, are all points that may be taken.
    """
    order = np.argsort(np.where(np.isfinite(losses), losses, np.inf), kind="stable")
    best = [known[place] for place in order[:BEST]]
    if among is not None:
        return new_points(list(map(dict, among)), taken)
    return new_points([*_near(space, best, seed), *_random(space, seed), *map(dict, further)], taken)


@dataclass(frozen=True)
class Scale:
    """The scale of scores: losses by median and median deviation, then with mean 0 and variance 1.

    What is worse than the median counts by its logarithm, so that no failed training flattens the rest.
    """

    median: float
    deviation: float
    mean: float
    spread: float

    def losses(self, scores: np.ndarray) -> np.ndarray:
        """Return the losses of scores, of any number beyond those that were scaled, too."""
        away = scores * self.spread + self.mean
        return np.asarray(self.median + self.deviation * np.where(away > 0, np.expm1(np.maximum(away, 0)), away))


def scores(losses: np.ndarray) -> np.ndarray:
    """Return the losses on their `Scale`; NaN gets the worst score."""
    return scaled(losses)[0]


def scaled(losses: np.ndarray) -> tuple[np.ndarray, Scale]:
    """Return the scores of losses, of which one at least is finite, and their scale."""
    finite = np.isfinite(losses)
    values = losses[finite]
    median = np.median(values)
    deviation = max(float(np.median(np.abs(values - median))) * 1.4826, 1e-12)
    away = (values - median) / deviation
    away = np.clip(np.where(away > 0, np.log1p(np.maximum(away, 0)), away), GOOD_LIMIT, BAD_LIMIT)
    found = np.full(len(losses), away.max())
    found[finite] = away
    scale = Scale(float(median), deviation, float(found.mean()), max(float(found.std()), 1e-9))
    return np.asarray((found - found.mean()) / scale.spread), scale


def log_expected_improvement(mean: np.ndarray, deviation: np.ndarray, best: float) -> np.ndarray:
    """Return log E max(best − f, 0) for f normal; far below the mean by its asymptote."""
    from scipy.special import ndtr  # noqa: PLC0415 - takes a moment, and most commands compute none

    gain = (best - mean) / deviation
    density = np.exp(-0.5 * gain**2) / np.sqrt(2 * np.pi)
    near = np.log(np.maximum(density + gain * ndtr(gain), 1e-300))
    far = -0.5 * gain**2 - 0.5 * np.log(2 * np.pi) - 2 * np.log(np.abs(gain) + 1e-9)
    return np.asarray(np.where(gain > -5, near, far) + np.log(deviation))


def _greedy(model: Posterior, known: int, pending: int, count: int, choose: Callable[[np.ndarray], int]) -> list[int]:
    """Return the places of the chosen candidates, counted from 0; `choose` returns that of one, given their gains.

    A chosen or pending point is taken to have the result that the model expects (kriging believer; Ginsbourger, Le
    Riche, Carraro 2010): means stay, and deviations near it shrink.
    """
    first = known + pending
    mean, covariance = model.mean, model.covariance.copy()
    best = float(mean[:known].min())
    chosen: list[int] = []
    for step in range(pending + min(count, len(mean) - first)):
        if step < pending:
            place = known + step
        else:
            deviation = np.sqrt(np.maximum(np.diagonal(covariance)[first:], 1e-12))
            gain = log_expected_improvement(mean[first:], deviation, best)
            gain[[each - first for each in chosen]] = -np.inf
            place = first + choose(gain)
            chosen.append(place)
        column = covariance[:, place].copy()
        covariance -= np.outer(column, column / (column[place] + model.noise + 1e-9))
        best = min(best, float(mean[place]))
    return [place - first for place in chosen]


def _random(space: SearchSpace, seed: Sequence[int]) -> Iterator[dict[str, Value]]:
    generator = np.random.default_rng([*seed, _ANYWHERE])
    for _ in range(RANDOM_CANDIDATES):
        yield space.at({name: generator.random() for name in space.by_name})


def _near(space: SearchSpace, best: Sequence[Point], seed: Sequence[int]) -> Iterator[dict[str, Value]]:
    """Yield changes of the best points: steps of normal length along some numbers, and other options."""
    generator = np.random.default_rng([*seed, _NEAR_BEST])
    share = max(0.4, 1.5 / len(space.varying))
    for point in best:
        for width in STEPS:
            for _ in range(NEAR):
                yield space.at({name: _moved(space, point, name, width, share, generator) for name in space.by_name})


def _moved(
    space: SearchSpace, point: Point, name: str, width: float, share: float, generator: np.random.Generator
) -> float:
    """Return a position near that of the point; of an inactive dimension, any."""
    is_moved, step, drawn = generator.random(), generator.standard_normal(), generator.random()
    if name not in point:
        return float(drawn)
    domain = space.by_name[name].domain.under(point)
    place = min(max(domain.to_unit(point[name]), 0.0), 1.0)
    if isinstance(domain, Choice):
        return float(drawn) if is_moved < FLIP else place
    moved = abs(place + width * step) if is_moved < share else place
    return min(max(2 - moved if moved >= 1 else moved, 0.0), 1 - 1e-9)
