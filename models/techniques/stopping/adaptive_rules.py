"""Stopping rules with adaptive margins: from earlier trials, the shape of the curve, or its noise.

Each is a function of its settings, its state and the observation of an epoch, like the rules of rules.py.
"""

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nightune.models.techniques.stopping.state import Observation, StoppingState

if TYPE_CHECKING:  # keys.py reads the names of the rules, so that rules.py imports this file
    from nightune.models.techniques.stopping.settings import StoppingSettings

Array = npt.NDArray[np.float64]

MINIMUM_POINTS = 5  # for fitting a curve
_RESAMPLES = 200
_EXPONENTS = np.geomspace(2.0**-5, 2.0**3, 129)
_ROUNDING = 1e-9  # relative to the best score; smaller improvements are ignored


def median(settings: "StoppingSettings", state: StoppingState, seen: Observation) -> StoppingState:
    """Stop if the mean score so far is worse than the median of the earlier trials' means over the same epochs.

    Golovin et al. (2017). Shorter trials enter with the epochs that they have. Requires `warmup_trials` earlier trials.
    """
    state = replace(state, scores=(*state.scores, seen.score))
    if len(seen.earlier) < settings.warmup_trials:
        return state
    span = slice(settings.start_epoch - 1, seen.epoch)
    means = [float(np.mean(scores[span])) for scores in seen.earlier if scores[span]]
    own, middle = float(np.mean(state.scores)), float(np.median(means)) if means else math.inf
    if own <= middle:
        return state
    reason = f"its mean so far, {seen.sign * own:g}, is worse than {seen.sign * middle:g}, the median of earlier trials"
    return replace(state, reason=reason)


def extrapolation(settings: "StoppingSettings", state: StoppingState, seen: Observation) -> StoppingState:
    """Stop if the curve, extrapolated to the last epoch, is unlikely to improve on the best score so far."""
    state = replace(state, scores=(*state.scores, seen.score))
    if len(state.scores) < MINIMUM_POINTS or seen.epoch >= seen.epochs:
        return state
    chance = chance_of_improvement(
        np.array(state.scores), seen.epochs - settings.start_epoch + 1, min(state.scores) - settings.min_delta
    )
    if chance >= settings.chance:
        return state
    return replace(state, reason=f"the probability of improvement by epoch {seen.epochs} is {chance:.1%}")


def chance_of_improvement(scores: Array, last: int, best: float) -> float:
    """Return how often c + a·last^−b is below `best`, for curves c + a·t^−b (t from 1) fitted to resampled residuals.

    A power law (Domhan, Springenberg & Hutter, 2015) by least squares, b on a grid; the residual bootstrap of Efron
    (1979). Deterministic. 0 for NaN or infinite scores.
    """
    if not np.isfinite(scores).all():
        return 0.0
    powers = np.arange(1.0, len(scores) + 1.0) ** -_EXPONENTS[:, None]  # (exponents, points)
    fitted, _ = _fit_curves(scores[None], powers, last)
    residuals = (scores - fitted[0]) * math.sqrt(len(scores) / (len(scores) - 3))
    generator = np.random.default_rng(len(scores))
    resampled = fitted + generator.choice(residuals, size=(_RESAMPLES, len(scores)))
    _, ends = _fit_curves(resampled, powers, last)
    return float(np.mean(ends < best - _ROUNDING * max(1.0, abs(best))))


def _fit_curves(values: Array, powers: Array, last: int) -> tuple[Array, Array]:
    """Fit each row of values, (rows, points); return the curves, (rows, points), and their last values, (rows,)."""
    centred = powers - powers.mean(axis=1, keepdims=True)
    squares = np.sum(centred**2, axis=1)
    slopes = values @ centred.T / squares  # (rows, exponents)
    best = np.argmax(slopes**2 * squares, axis=1)  # maximizes the explained variance
    slope = slopes[np.arange(len(values)), best]
    mean = values.mean(axis=1)
    end = last ** -_EXPONENTS[best] - powers.mean(axis=1)[best]
    return mean[:, None] + slope[:, None] * centred[best], mean + slope * end


def noise_patience(settings: "StoppingSettings", state: StoppingState, seen: Observation) -> StoppingState:
    """Patience with the margin z·σ: improvements within the noise of the metric are ignored.

    σ is the standard deviation of the last k differences between epochs, divided by √2, which excludes a steady trend.
    """
    scores = (*state.scores, seen.score)[-settings.noise_window - 1 :]
    state = replace(state, scores=scores)
    margin = settings.noise_factor * score_noise(scores)
    if seen.score + margin < state.reference:
        return replace(state, reference=seen.score, wait=0)
    wait = state.wait + 1
    if wait < settings.patience:
        return replace(state, wait=wait)
    reason = f"no improvement by more than {margin:.3g}, the noise, for {wait} epoch{'s' * (wait > 1)}"
    return replace(state, wait=wait, reason=reason)


def score_noise(scores: tuple[float, ...]) -> float:
    """Return σ of independent noise on the scores; 0 for fewer than three, or if one is not finite."""
    if len(scores) < 3 or not np.isfinite(scores).all():
        return 0.0
    return float(np.std(np.diff(scores)) / math.sqrt(2.0))
