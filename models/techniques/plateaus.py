"""A plateau: so many epochs without an improvement. One detector, whatever acts on it.

A score is the monitored metric turned so that lower is better.
"""

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class PlateauRule:
    """What makes a plateau: epochs in a row without an improvement by more than `min_delta`, in the metric's units."""

    patience: int
    min_delta: float = 0.0
    cooldown: int = 0  # epochs after a plateau in which no waiting is counted
    start_epoch: int = 1  # the first epoch, counted from 1, that is looked at


@dataclass(frozen=True)
class PlateauState:
    """What the detector remembers between epochs; what acts on plateaus is a function of their `count`."""

    best: float = math.inf
    wait: int = 0
    cooldown: int = 0
    count: int = 0  # plateaus so far


def next_plateau_state(rule: PlateauRule, state: PlateauState, epoch: int, score: float) -> PlateauState:
    """Return the state after an epoch with the score. Keras' ReduceLROnPlateau to the letter: patience 0 acts as 1.

    Except that a score which is not finite counts as +inf: in Keras a NaN in the first epoch is the best for ever.
    """
    if epoch < rule.start_epoch:
        return state
    score = score if math.isfinite(score) else math.inf
    if state.cooldown > 0:
        state = replace(state, cooldown=state.cooldown - 1, wait=0)
    if score + rule.min_delta < state.best:
        return replace(state, best=score, wait=0)
    if state.cooldown > 0:
        return state
    if state.wait + 1 < rule.patience:
        return replace(state, wait=state.wait + 1)
    return replace(state, wait=0, cooldown=rule.cooldown, count=state.count + 1)
