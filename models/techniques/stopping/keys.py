"""The keys of early stopping: meaning, bounds, default, and when each is active."""

from typing import Any

from nightune.models.techniques.keys import Key
from nightune.models.techniques.stopping.rules import ERROR_RULES, RULES
from nightune.models.techniques.stopping.settings import StoppingSettings
from nightune.models.techniques.stopping.stopping import ACTIONS

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
