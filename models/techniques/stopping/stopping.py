"""Early stopping: decide after which epoch a training ends. The best epoch's weights are kept with every rule.

A score is the monitored metric, with its sign changed if higher is better. The controller determines the best epoch,
the one with the lowest score; a rule has its own reference, which ignores small improvements. NaN or infinity in the
loss or the metric ends a training immediately, with any rule. Rules ignore the epochs before `start_epoch`, but one of
these can be the best epoch, unlike in Keras.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from nightune.models.techniques.plateaus import PlateauRule
from nightune.models.techniques.stopping.rules import RULES, user_rule
from nightune.models.techniques.stopping.settings import StoppingSettings
from nightune.models.techniques.stopping.state import Observation, StoppingState


def next_stopping_state(settings: StoppingSettings, state: StoppingState, seen: Observation) -> StoppingState:
    """Return the rule's state after the epoch; a non-finite score is taken as +inf."""
    if seen.epoch < settings.start_epoch:
        return state
    score = seen.score if math.isfinite(seen.score) else math.inf
    rule = user_rule if settings.is_users_own else RULES[settings.rule]
    return rule(settings, state, replace(seen, score=score))


def plateau_rule(settings: StoppingSettings) -> PlateauRule:
    """Return the plateau condition of `combined`."""
    return PlateauRule(settings.patience, settings.min_delta, settings.cooldown, settings.start_epoch)


@dataclass(frozen=True)
class Actions:
    """The numbers of rate reductions and batch growths by `combined`."""

    rates: int
    batches: int


def actions(settings: StoppingSettings, plateaus: int) -> Actions:
    """Return the actions of `combined` on so many plateaus."""
    taken = min(plateaus, settings.max_actions)
    return Actions(*ACTIONS[settings.action](taken))


# action → numbers of rate reductions and batch growths among so many actions
ACTIONS: dict[str, Callable[[int], tuple[int, int]]] = {
    "rate": lambda taken: (taken, 0),
    "batch": lambda taken: (0, taken),
    "alternate": lambda taken: ((taken + 1) // 2, taken // 2),  # the rate first
}
