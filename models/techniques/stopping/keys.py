"""The keys of early stopping: meaning, bounds, default and condition."""

from typing import Any

from nightune.models.techniques.keys import Key
from nightune.models.techniques.stopping.rules import ERROR_RULES, RULES
from nightune.models.techniques.stopping.settings import StoppingSettings
from nightune.models.techniques.stopping.stopping import ACTIONS

_DEFAULTS = StoppingSettings()
_ACTING = tuple(action for action in ACTIONS if action != "rate")


def _key(name: str, kind: str, rules: tuple[str, ...], meaning: str, **more: Any) -> Key:
    """The key of a setting that is active for these rules."""
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
        meaning="rule that ends a training before its budget; the best epoch's weights are kept in any case",
    ),
} | {
    f"stopping.{name}": _key(name, kind, rules, meaning, **more)
    for name, kind, rules, more, meaning in (
        (
            "patience",
            "integer",
            ("patience", "combined", "noise_patience"),
            {"low": 0, "default_by": {"stopping.rule": {"combined": 3}}},
            "epochs without improvement after which training stops; combined: that form a plateau, by default 3",
        ),
        (
            "min_delta",
            "float",
            ("patience", "combined", "extrapolation"),
            {"low": 0.0},
            "minimum improvement, in units of the metric",
        ),
        ("start_epoch", "integer", _SEEING, {"low": 1}, "first epoch that the rule evaluates, counted from 1"),
        ("action", "option", ("combined",), {"options": tuple(ACTIONS)}, "action on a plateau, before training stops"),
        ("max_actions", "integer", ("combined",), {"low": 1}, "number of plateaus with an action; the next one stops"),
        ("cooldown", "integer", ("combined",), {"low": 0}, "epochs after an action in which the wait counter stays 0"),
        ("rate_factor", "float", ("combined",), {**_PART, **_ON_RATE}, "factor of the rate on a plateau"),
        ("batch_factor", "float", ("combined",), {**_FACTOR_ABOVE_1, **_ON_BATCH}, "factor of the batch size"),
        (
            "batch_maximum",
            "integer",
            ("combined",),
            {"low": 1, **_ON_BATCH},
            "maximum batch size; the unused part of the factor reduces the rate instead",
        ),
        ("limit", "float", ("threshold",), {}, "worst allowed value of the metric, or the multiple of `limit_of`"),
        (
            "limit_of",
            "option",
            ("threshold",),
            {"options": ("value", "first", "best")},
            "the limit is a value of the metric, or a multiple of its first or best value so far",
        ),
        ("target", "float", ("target",), {}, "value of the metric at which training stops"),
        (
            "loss_factor",
            "float",
            ("divergence",),
            _FACTOR_ABOVE_1,
            "maximum ratio of the training loss to its minimum",
        ),
        (
            "successive",
            "integer",
            ("divergence", "successive_increase"),
            {"low": 1, "default_by": {"stopping.rule": {"divergence": 1}}},
            "consecutive epochs (divergence, by default 1) or strips after which training stops",
        ),
        (
            "alpha",
            "float",
            ERROR_RULES,
            {"low": 0.0, "is_open_low": True, "default_by": {"stopping.rule": {"productivity": 1.0}}},
            "α: maximum percentage above the lowest error; productivity: its ratio to the progress, by default 1",
        ),
        ("strip", "integer", ("productivity", "successive_increase"), {"low": 1}, "k: epochs per strip"),
        ("warmup_trials", "integer", ("median",), {"low": 1}, "minimum number of earlier trials to compare with"),
        ("chance", "float", ("extrapolation",), _PART, "probability of improvement below which training stops"),
        (
            "noise_factor",
            "float",
            ("noise_patience",),
            {"low": 0.0},
            "z: minimum improvement, as a multiple of the noise of the metric",
        ),
        (
            "noise_window",
            "integer",
            ("noise_patience",),
            {"low": 2},
            "k: number of differences between epochs from which the noise is estimated",
        ),
    )
}
