"""The front of several objectives: the trials that no other one beats in all of them, and the volume below them."""

import math
from collections.abc import Sequence

import numpy as np

from nightune.tuning.trial import TrialResult
from nightune.vocabulary import sign_of

FAR_OUT = 4.0  # times the typical distance from the best: a loss beyond is no end of the box
MOST_POINTS = {0: 2000, 1: 2000, 2: 2000, 3: 1000, 4: 400, 5: 120, 6: 60, 7: 30, 8: 20}  # of a front, by objectives
NOT_COMPUTED = "the share that it covers is not computed: it takes too long for so many objectives and trials"

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


def hypervolume(results: Sequence[TrialResult], direction: str, further: Objectives) -> float | None:
    """Return the share of the objectives' box that the front of the results dominates; None where it is too costly.

    The box reaches from the best value of each objective to its reference (`_reference`); 1 would be one trial that is
    the best in everything. An objective without differences counts as reached; what lies beyond a reference dominates
    nothing.
    """
    places, whole = _places(losses_of(results, direction, further))
    points = _non_dominated(places[whole])
    return dominated_volume(points) if _is_affordable(points) else None


def volumes(results: Sequence[TrialResult], direction: str, further: Objectives) -> list[float]:
    """Return the `hypervolume` of the first results in the box of all, after each result; empty where it is too costly.

    Each adds what it dominates alone.
    """
    places, whole = _places(losses_of(results, direction, further))
    found: list[float] = []
    kept = places[:0]
    for place, is_whole in zip(places, whole, strict=True):
        covered = found[-1] if found else 0.0
        if is_whole and not (kept <= place).all(axis=1).any():
            covered += _added(place, kept)
            kept = np.vstack([kept[~(place <= kept).all(axis=1)], place])
            if not _is_affordable(kept):
                return []
        found.append(covered)
    return found


def dominated_volume(points: np.ndarray) -> float:
    """Return the volume of [0, 1]^m that points, (points, m), dominate; points beyond 1 dominate none.

    Slices along the last objective (Zitzler 1999), each with one point more than the one before, which adds its
    exclusive volume (While, Bradstreet and Barone 2012).
    """
    inside = points[(points < 1).all(axis=1)]
    if len(inside) == 0 or points.shape[1] == 0:
        return float(len(inside) > 0)
    if points.shape[1] == 1:
        return float(1.0 - inside.min())
    if points.shape[1] == 2:
        ordered = inside[np.argsort(inside[:, 0], kind="stable")]
        widths = np.diff(ordered[:, 0], append=1.0)
        return float(widths @ (1.0 - np.minimum.accumulate(ordered[:, 1])))
    held = _non_dominated(inside)
    ordered = held[np.argsort(held[:, -1], kind="stable")]
    added = [_added(point, ordered[:place, :-1]) for place, point in enumerate(ordered[:, :-1])]
    return float(np.diff(ordered[:, -1], append=1.0) @ np.cumsum(added))


def _added(point: np.ndarray, others: np.ndarray) -> float:
    """Return the volume that a point dominates and others do not; sums may be rounded below zero."""
    if (point >= 1).any():
        return 0.0
    return max(0.0, float(np.prod(1.0 - point)) - dominated_volume(np.maximum(others, point)))


def _non_dominated(points: np.ndarray) -> np.ndarray:
    """Return the points that no other one dominates, each once."""
    ordered = points[np.lexsort(points.T[::-1])] if points.shape[1] else points[:1]
    kept = ordered[:0]
    for point in ordered:  # none dominates an earlier one
        if not (kept <= point).all(axis=1).any():
            kept = np.vstack([kept, point])
    return kept


def _is_affordable(points: np.ndarray) -> bool:
    """Return True if the volume of this front takes about a second at most: the time grows with each objective."""
    return len(points) <= MOST_POINTS.get(points.shape[1], 0)


def _places(losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return losses, (results, objectives), as places in the box, (results, varying objectives), and who has all."""
    is_whole = np.isfinite(losses).all(axis=1)
    whole = losses[is_whole]
    if len(whole) == 0:
        return losses, is_whole
    low = whole.min(axis=0)
    varying = whole.max(axis=0) > low
    ends = np.array([_reference(each) for each in whole[:, varying].T])
    with np.errstate(over="ignore"):  # far beyond the box is infinitely far
        return (losses[:, varying] - low[varying]) / (ends - low[varying]), is_whole


def _reference(losses: np.ndarray) -> float:
    """Return the worst loss that is at most four times as far from the best as the median of those that are worse.

    So that an outlier does not move it, as the largest loss would be: the box would be its own, and covered by any
    trial.
    """
    low = float(losses.min())
    worse = np.sort(losses[losses > low]) - low
    typical = float(worse[(len(worse) - 1) // 2])
    return low + float(worse[worse <= FAR_OUT * typical].max())


def _losses(result: TrialResult, direction: str, further: Objectives) -> list[float]:
    first = sign_of(direction) * result.objective if result.is_ranked else math.nan
    return [first, *(sign_of(each) * result.further.get(name, math.nan) for name, each in further)]


def _is_dominated(losses: np.ndarray, others: np.ndarray) -> bool:
    return bool(((others <= losses).all(axis=1) & (others < losses).any(axis=1)).any())
