"""The front of several objectives: the trials that no other one beats in all of them, and the volume below them."""

import math
from collections.abc import Sequence

import numpy as np

from nightune.tuning.trial import TrialResult
from nightune.vocabulary import sign_of

Objectives = Sequence[tuple[str, str]]  # further ones: name and direction


def losses_of(results: Sequence[TrialResult], direction: str, further: Objectives) -> np.ndarray:
    """Return the objectives as losses, (results, objectives): lower is better, NaN for what a result lacks."""
    return np.array([_losses(each, direction, further) for each in results], dtype=float).reshape(
        len(results), 1 + len(further)
    )


def front(results: Sequence[TrialResult], direction: str, further: Objectives) -> list[TrialResult]:
    """Return the ranked results that no other one dominates, in their order; those without all objectives are left out.

    A result dominates another one if it is as good in each objective and better in one: equal ones stay both.
    """
    losses = losses_of(results, direction, further)
    whole = [place for place, each in enumerate(losses) if np.isfinite(each).all()]
    return [results[place] for place in whole if not _is_dominated(losses[place], losses[whole])]


def volumes(results: Sequence[TrialResult], direction: str, further: Objectives) -> list[float]:
    """Return the share of the objectives' box that the first results dominate, after each result.

    The box reaches from the best to the worst value of each objective in all results; 1 would be one trial that is the
    best in everything. An objective without differences counts as reached.
    """
    losses = losses_of(results, direction, further)
    whole = np.isfinite(losses).all(axis=1)
    if not whole.any():
        return [0.0] * len(results)
    low, high = losses[whole].min(axis=0), losses[whole].max(axis=0)
    varying = high > low
    places = (losses[:, varying] - low[varying]) / (high - low)[varying]
    found: list[float] = []
    kept: list[np.ndarray] = []
    for place, is_whole in zip(places, whole, strict=True):
        if is_whole and not any((each <= place).all() for each in kept):
            kept = [each for each in kept if not (place <= each).all()] + [place]
            found.append(max([dominated_volume(np.array(kept)), *found[-1:]]))  # sums may be rounded down
        else:
            found.append(found[-1] if found else 0.0)
    return found


def dominated_volume(points: np.ndarray) -> float:
    """Return the volume of [0, 1]^m that points, (points, m), dominate: slices along the last one (Zitzler 1999)."""
    if points.shape[1] == 0:
        return 1.0
    if points.shape[1] == 1:
        return float(1.0 - points.min())
    order = points[np.argsort(points[:, -1], kind="stable")]
    ends = [*order[1:, -1], 1.0]
    slices = (
        (float(end) - float(point[-1])) * dominated_volume(order[: number + 1, :-1])
        for number, (point, end) in enumerate(zip(order, ends, strict=True))
        if end > point[-1]
    )
    return float(sum(slices))


def _losses(result: TrialResult, direction: str, further: Objectives) -> list[float]:
    first = sign_of(direction) * result.objective if result.is_ranked else math.nan
    return [first, *(sign_of(each) * result.further.get(name, math.nan) for name, each in further)]


def _is_dominated(losses: np.ndarray, others: np.ndarray) -> bool:
    return bool(((others <= losses).all(axis=1) & (others < losses).any(axis=1)).any())
