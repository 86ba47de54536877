"""Plateau detection: a number of epochs without an improvement. One detector for all techniques that react to it.

A score is the monitored metric, with its sign changed if higher is better.
"""

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class PlateauRule:
    """The condition of a plateau: consecutive epochs without an improvement by more than `min_delta`."""

    patience: int
    min_delta: float = 0.0
    cooldown: int = 0  # epochs after a plateau in which the wait counter stays 0
    start_epoch: int = 1  # the first epoch that is evaluated, counted from 1


@dataclass(frozen=True)
class PlateauState:
    """The state of the detector between epochs; reactions to plateaus are functions of their `count`."""

    best: float = math.inf
    wait: int = 0
    cooldown: int = 0
    count: int = 0  # plateaus so far


def next_plateau_state(rule: PlateauRule, state: PlateauState, epoch: int, score: float) -> PlateauState:
    """Return the state after an epoch with the score. Identical to Keras' ReduceLROnPlateau: patience 0 acts as 1.

    One exception: a non-finite score is taken as +inf, whereas in Keras a NaN in the first epoch stays the best value.
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
