"""Early stopping: when an epoch was the last. The best epoch's weights are kept under every rule.

A score is the monitored metric turned so that lower is better. The best epoch is the one with the lowest score of
all, and is the controller's; a rule has its own reference, which a small improvement need not move. NaN or infinity
in the loss or the metric ends a training at once, whatever the rule. No rule sees the epochs before `start_epoch`,
but one of them may still be the best epoch, which Keras leaves out.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from nightune.models.techniques.plateaus import PlateauRule
from nightune.models.techniques.stopping.rules import RULES, user_rule
from nightune.models.techniques.stopping.settings import StoppingSettings
from nightune.models.techniques.stopping.state import Observation, StoppingState


def next_stopping_state(settings: StoppingSettings, state: StoppingState, seen: Observation) -> StoppingState:
    """Return the rule's state after the epoch; a score that is not finite counts as +inf."""
    if seen.epoch < settings.start_epoch:
        return state
    score = seen.score if math.isfinite(seen.score) else math.inf
    rule = user_rule if settings.is_users_own else RULES[settings.rule]
    return rule(settings, state, replace(seen, score=score))


def plateau_rule(settings: StoppingSettings) -> PlateauRule:
    """What `combined` takes for a plateau."""
    return PlateauRule(settings.patience, settings.min_delta, settings.cooldown, settings.start_epoch)


@dataclass(frozen=True)
class Actions:
    """How often `combined` has lowered the rate and grown the batch."""

    rates: int
    batches: int


def actions(settings: StoppingSettings, plateaus: int) -> Actions:
    """What `combined` did on so many plateaus."""
    taken = min(plateaus, settings.max_actions)
    return Actions(*ACTIONS[settings.action](taken))


# action: times that the rate was lowered and the batch grown, of so many actions
ACTIONS: dict[str, Callable[[int], tuple[int, int]]] = {
    "rate": lambda taken: (taken, 0),
    "batch": lambda taken: (0, taken),
    "alternate": lambda taken: ((taken + 1) // 2, taken // 2),  # the rate first
}
