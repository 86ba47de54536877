"""The rules of early stopping: functions of the settings, the state and the observation of an epoch.

Scores, and the properties of all rules, are described in stopping.py.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from nightune.models.errors import InputError
from nightune.models.techniques.stopping.adaptive_rules import extrapolation, median, noise_patience
from nightune.models.techniques.stopping.state import Observation, StoppingState

if TYPE_CHECKING:  # keys.py reads the names of the rules, so that the settings must not import them
    from nightune.models.techniques.stopping.settings import StoppingSettings

_TINY = 1e-12  # replaces an error of 0 in divisions


def never(settings: "StoppingSettings", state: StoppingState, seen: Observation) -> StoppingState:
    """Train for the whole budget."""
    return state


def patience(settings: "StoppingSettings", state: StoppingState, seen: Observation) -> StoppingState:
    """Stop after `patience` consecutive epochs without score + min_delta < reference.

    As Keras' EarlyStopping: patience 0 acts as 1, so that the first observed epoch is never the last.
    """
    if seen.score + settings.min_delta < state.reference:
        return StoppingState(reference=seen.score)
    wait = state.wait + 1
    if wait >= settings.patience:
        margin = f" by more than {settings.min_delta:g}" if settings.min_delta else ""
        return replace(state, wait=wait, reason=f"no improvement{margin} for {wait} epoch{'s' if wait > 1 else ''}")
    return replace(state, wait=wait)


def combined(settings: "StoppingSettings", state: StoppingState, seen: Observation) -> StoppingState:
    """Lower the rate or grow the batch on each of the first plateaus; stop at the next one."""
    if seen.plateaus <= settings.max_actions:
        return state
    return replace(state, reason=f"a plateau after {settings.max_actions} action{'s' * (settings.max_actions > 1)}")


def threshold(settings: "StoppingSettings", state: StoppingState, seen: Observation) -> StoppingState:
    """Stop if the metric is worse than the limit, or than limit × its first or best value."""
    is_first = state.reference == math.inf
    if settings.limit_of == "best" or is_first:
        state = replace(state, reference=min(state.reference, seen.score))
    assert settings.limit is not None  # a recipe without it is refused
    bound = settings.limit * (seen.sign if settings.limit_of == "value" else state.reference)
    if seen.score <= bound:
        return state
    return replace(state, reason=f"{seen.sign * seen.score:g} is worse than the limit {seen.sign * bound:g}")


def target(settings: "StoppingSettings", state: StoppingState, seen: Observation) -> StoppingState:
    """Stop if the metric reaches the target."""
    assert settings.target is not None  # a recipe without it is refused
    if seen.score > seen.sign * settings.target:
        return state
    return replace(state, reason=f"{seen.sign * seen.score:g} reaches the target {settings.target:g}")


def divergence(settings: "StoppingSettings", state: StoppingState, seen: Observation) -> StoppingState:
    """Stop if the training loss was above factor × its minimum for so many consecutive epochs."""
    wait = state.wait + 1 if seen.loss > settings.loss_factor * state.reference else 0
    state = replace(state, wait=wait, reference=min(state.reference, seen.loss))
    if wait < settings.successive:
        return state
    return replace(
        state,
        reason=f"training loss {seen.loss:g} is above {settings.loss_factor:g} times its minimum, {state.reference:g}",
    )


def generalization_loss(settings: "StoppingSettings", state: StoppingState, seen: Observation) -> StoppingState:
    """GL_α: stop if GL(t) > α (Prechelt, 1998)."""
    state = replace(state, reference=min(state.reference, seen.score))
    loss = generalization_loss_percent(seen.score, state.reference)
    if loss <= settings.alpha:
        return state
    return replace(state, reason=f"generalization loss {loss:.3g} is above {settings.alpha:g}")


def productivity(settings: "StoppingSettings", state: StoppingState, seen: Observation) -> StoppingState:
    """PQ_α: stop at the end of a strip of epochs if GL(t)/P_k(t) > α: the loss exceeds the progress."""
    losses = (*state.losses, seen.loss)[-settings.strip :]
    state = replace(state, reference=min(state.reference, seen.score), losses=losses)
    loss, progress = generalization_loss_percent(seen.score, state.reference), training_progress(losses)
    if not _ends_strip(settings, seen.epoch) or loss <= settings.alpha * progress:
        return state
    reason = f"generalization loss {loss:.3g} is above {settings.alpha:g} times the training progress, {progress:.3g}"
    return replace(state, reason=reason)


def successive_increase(settings: "StoppingSettings", state: StoppingState, seen: Observation) -> StoppingState:
    """UP_s: stop if the metric is worse at the ends of s consecutive strips of epochs."""
    if not _ends_strip(settings, seen.epoch):
        return state
    wait = state.wait + 1 if seen.score > state.reference else 0
    reason = f"worse at the end of {wait} consecutive strip{'s' * (wait > 1)}" if wait >= settings.successive else ""
    return replace(state, reference=seen.score, wait=wait, reason=reason)


def generalization_loss_percent(error: float, lowest: float) -> float:
    """GL(t) = 100·(E_va(t)/E_opt(t) − 1): the error above its minimum so far, in percent."""
    if lowest < 0.0:
        raise InputError("stopping.rule", f"needs an error metric, at least 0, not {lowest:g}; use another rule")
    return 100.0 * (error / max(lowest, _TINY) - 1.0) if error > lowest else 0.0


def training_progress(losses: tuple[float, ...]) -> float:
    """P_k(t) = 1000·(mean/minimum − 1) of the training losses of a strip of k epochs, never below 0."""
    ratio = sum(losses) / (len(losses) * max(min(losses), _TINY))
    return max(0.0, 1000.0 * (ratio - 1.0))  # rounding or losses of 0 could make it negative


def user_rule(settings: "StoppingSettings", state: StoppingState, seen: Observation) -> StoppingState:
    """Stop if the user's function of the curves returns a reason; non-finite values are NaN in the curves."""
    assert seen.stop_function is not None  # a controller without it is refused
    values = {name: value if math.isfinite(value) else None for name, value in seen.metrics.items()}
    history = {name: [*state.history.get(name, []), value] for name, value in values.items()}
    curves = {name: [math.nan if value is None else value for value in curve] for name, curve in history.items()}
    return replace(state, history=history, reason=seen.stop_function(curves) or "")


def _ends_strip(settings: "StoppingSettings", epoch: int) -> bool:
    return (epoch - settings.start_epoch + 1) % settings.strip == 0


RULES: dict[str, Callable[["StoppingSettings", StoppingState, Observation], StoppingState]] = {
    "none": never,
    "patience": patience,
    "combined": combined,
    "threshold": threshold,
    "target": target,
    "divergence": divergence,
    "generalization_loss": generalization_loss,
    "productivity": productivity,
    "successive_increase": successive_increase,
    "median": median,
    "extrapolation": extrapolation,
    "noise_patience": noise_patience,
}

ERROR_RULES = ("generalization_loss", "productivity")  # these divide by the metric, which must be an error, at least 0
LOSS_RULES = ("divergence", "productivity")  # these use the training loss
