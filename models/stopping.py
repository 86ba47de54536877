"""Early stopping: when an epoch was the last. The best epoch's weights are kept under every rule.

A score is the monitored metric turned so that lower is better. The best epoch is the one with the lowest score of
all, and is the controller's; a rule has its own reference, which a small improvement need not move. NaN or infinity
in the loss or the metric ends a training at once, whatever the rule. No rule sees the epochs before `start_epoch`,
but one of them may still be the best epoch, which Keras leaves out.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from models.keys import Key
from models.plateaus import PlateauRule
from models.stopping_rules import ERROR_RULES, RULES, user_rule
from models.stopping_states import Observation, StoppingState
from models.user_code import is_reference


@dataclass(frozen=True)
class StoppingSettings:
    """The rule and its numbers; those that it does not use keep their default."""

    rule: str = "patience"
    patience: int = 10
    min_delta: float = 0.0
    start_epoch: int = 1
    action: str = "rate"
    max_actions: int = 2
    cooldown: int = 0
    rate_factor: float = 0.5
    batch_factor: float = 2.0
    batch_maximum: int = 512
    limit: float | None = None
    limit_of: str = "value"
    target: float | None = None
    loss_factor: float = 10.0
    successive: int = 3
    alpha: float = 5.0
    strip: int = 5
    warmup_trials: int = 5
    chance: float = 0.05
    noise_factor: float = 1.0
    noise_window: int = 10

    @property
    def is_users_own(self) -> bool:
        """True if the rule is a function in a file of the user's."""
        return is_reference(self.rule)

    @property
    def grows_batches(self) -> bool:
        """True if the rule may act on the batch size before it stops."""
        return self.rule == "combined" and self.action != "rate"


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


_DEFAULTS = StoppingSettings()
_ACTING = tuple(action for action in ACTIONS if action != "rate")


def _key(name: str, kind: str, rules: tuple[str, ...], meaning: str, **more: Any) -> Key:
    """The key of a setting that counts only for these rules."""
    more["when"] = {"stopping.rule": rules, **more.get("when", {})}
    return Key(kind, getattr(_DEFAULTS, name), meaning=meaning, **more)


_FACTOR_ABOVE_1: dict[str, Any] = {"low": 1.0, "is_open_low": True}
_PART: dict[str, Any] = {"low": 0.0, "high": 1.0, "is_open_low": True, "is_open_high": True}
_ON_RATE: dict[str, Any] = {"when": {"stopping.action": ("rate", "alternate")}}
_ON_BATCH: dict[str, Any] = {"when": {"stopping.action": _ACTING}}
_SEEING = tuple(rule for rule in RULES if rule != "none")

KEYS: dict[str, Key] = {
    "stopping.rule": Key(
        "option",
        StoppingSettings.rule,
        options=tuple(RULES),
        is_open=True,
        meaning="what ends a training before its budget; the best epoch's weights are kept in any case",
    ),
} | {
    f"stopping.{name}": _key(name, kind, rules, meaning, **more)
    for name, kind, rules, more, meaning in (
        (
            "patience",
            "integer",
            ("patience", "combined", "noise_patience"),
            {"low": 0, "default_by": {"stopping.rule": {"combined": 3}}},
            "epochs without an improvement after which the training stops; combined: acts, 3 unless told otherwise",
        ),
        (
            "min_delta",
            "float",
            ("patience", "combined", "extrapolation"),
            {"low": 0.0},
            "how much better than before counts as an improvement, in units of the metric",
        ),
        ("start_epoch", "integer", _SEEING, {"low": 1}, "the first epoch, counted from 1, that the rule looks at"),
        ("action", "option", ("combined",), {"options": tuple(ACTIONS)}, "what is done on a plateau before one stops"),
        ("max_actions", "integer", ("combined",), {"low": 1}, "how many plateaus are acted on; the next one stops"),
        ("cooldown", "integer", ("combined",), {"low": 0}, "epochs after an action in which no waiting is counted"),
        ("rate_factor", "float", ("combined",), {**_PART, **_ON_RATE}, "what multiplies the rate on a plateau"),
        ("batch_factor", "float", ("combined",), {**_FACTOR_ABOVE_1, **_ON_BATCH}, "what multiplies the batch size"),
        (
            "batch_maximum",
            "integer",
            ("combined",),
            {"low": 1, **_ON_BATCH},
            "the batch size that none is above; what it leaves unused of the factor goes to the rate",
        ),
        ("limit", "float", ("threshold",), {}, "what the metric must not be worse than, or the multiple of `limit_of`"),
        (
            "limit_of",
            "option",
            ("threshold",),
            {"options": ("value", "first", "best")},
            "whether the limit is a value of the metric or a multiple of its first or best value so far",
        ),
        ("target", "float", ("target",), {}, "the value of the metric that is good enough"),
        (
            "loss_factor",
            "float",
            ("divergence",),
            _FACTOR_ABOVE_1,
            "how many times its lowest the training loss may be",
        ),
        (
            "successive",
            "integer",
            ("divergence", "successive_increase"),
            {"low": 1, "default_by": {"stopping.rule": {"divergence": 1}}},
            "epochs (divergence: 1 unless told otherwise) or strips in a row after which the training stops",
        ),
        (
            "alpha",
            "float",
            ERROR_RULES,
            {"low": 0.0, "is_open_low": True, "default_by": {"stopping.rule": {"productivity": 1.0}}},
            "α: percent above the lowest error; productivity: their ratio to the progress, 1 unless told otherwise",
        ),
        ("strip", "integer", ("productivity", "successive_increase"), {"low": 1}, "k: the epochs of a strip"),
        ("warmup_trials", "integer", ("median",), {"low": 1}, "how many earlier trials there must be to compare with"),
        ("chance", "float", ("extrapolation",), _PART, "the chance to improve below which a training stops"),
        (
            "noise_factor",
            "float",
            ("noise_patience",),
            {"low": 0.0},
            "z: how many times its noise the metric must improve by",
        ),
        (
            "noise_window",
            "integer",
            ("noise_patience",),
            {"low": 2},
            "k: from how many differences between epochs the noise is taken",
        ),
    )
}
