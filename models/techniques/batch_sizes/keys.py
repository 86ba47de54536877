"""The keys of batch sizes: meaning, bounds, default and condition."""

from typing import Any

from nightune.models.techniques.batch_sizes.gradient_noise import WANTED
from nightune.models.techniques.batch_sizes.policies import LAWS, POLICIES, REMAINDERS
from nightune.models.techniques.batch_sizes.settings import BatchSizeSettings
from nightune.models.techniques.keys import Key
from nightune.models.techniques.optimizers.optimizers import MINI_BATCH_OPTIMIZERS

_GROWING = ("geometric", "plateau_grow", "schedule_grow", "adabatch")
_MEASURED = tuple(WANTED)
_DEFAULTS = BatchSizeSettings()


def _key(name: str, kind: str, policies: tuple[str, ...], meaning: str, **more: Any) -> Key:
    """The key of a setting that is active for these policies."""
    when = {"optimizer": MINI_BATCH_OPTIMIZERS, "batch_size.policy": policies}
    return Key(kind, getattr(_DEFAULTS, name), when=when, meaning=meaning, **more)


_PART: dict[str, Any] = {"low": 0.0, "high": 1.0, "is_open_low": True, "is_open_high": True}
_FACTOR: dict[str, Any] = {
    "low": 1.0,
    "is_open_low": True,
    "default_by": {"batch_size.policy": {"geometric": 1.2}},  # of the article, every epoch
}

KEYS: dict[str, Key] = (
    {
        "batch_size.policy": Key(
            "option",
            BatchSizeSettings.policy,
            options=tuple(POLICIES),
            when={"optimizer": MINI_BATCH_OPTIMIZERS},
            meaning="course of the batch size during training",
        ),
    }
    | {
        f"batch_size.{name}": _key(name, kind, policies, meaning, **more)
        for name, kind, policies, more, meaning in (
            (
                "size",
                "integer",
                ("fixed", *_GROWING, *_MEASURED),
                {"low": 1},
                "examples per update; the initial number if the size changes",
            ),
            ("minimum", "integer", ("random", *_MEASURED), {"low": 1}, "minimum batch size"),
            (
                "ratio",
                "integer",
                ("random",),
                {"low": 0},
                "largest drawn size, as a multiple of the minimum; 0: up to the maximum",
            ),
            ("maximum", "integer", ("random", *_GROWING, *_MEASURED), {"low": 1}, "maximum batch size"),
            ("law", "option", ("random",), {"options": tuple(LAWS)}, "distribution of the drawn sizes"),
            ("factor", "float", _GROWING, _FACTOR, "growth factor of the size; geometric: by default 1.2"),
            ("patience", "integer", ("plateau_grow",), {"low": 0}, "epochs without improvement that form a plateau"),
            ("min_delta", "float", ("plateau_grow",), {"low": 0.0}, "minimum improvement, in units of the metric"),
            (
                "cooldown",
                "integer",
                ("plateau_grow",),
                {"low": 0},
                "epochs after a growth in which the wait counter stays 0",
            ),
            ("step_count", "integer", ("schedule_grow",), {"low": 1}, "number of milestones"),
            ("step_first", "float", ("schedule_grow",), _PART, "first milestone, as a share of the budget"),
            (
                "step_gap",
                "float",
                ("schedule_grow",),
                _PART,
                "distance to the next milestone, as a share of the remaining budget",
            ),
            ("interval", "integer", ("adabatch",), {"low": 1}, "epochs between two growths"),
            (
                "rate_factor",
                "float",
                ("adabatch",),
                {"low": 0.0, "high": 1.0, "is_open_low": True},
                "factor of the learning rate at each growth",
            ),
            (
                "noise_multiple",
                "float",
                ("gns", "divebatch"),
                {"low": 0.0, "is_open_low": True},
                "factor of the measured batch size: c of gns, δ of divebatch",
            ),
            (
                "noise_decay",
                "float",
                ("gns", "cabs"),
                {"low": 0.0, "high": 1.0, "is_open_high": True},
                "decay of the moving averages of the measurements, per update",
            ),
            (
                "remainder",
                "option",
                tuple(POLICIES),
                {"options": tuple(REMAINDERS)},
                "last, smaller batch of an epoch: keep, drop, or wrap: fill it with the epoch's first examples",
            ),
        )
    }
    | {
        "batch_size.micro_size": Key(
            "integer",
            BatchSizeSettings.micro_size,
            low=0,
            meaning="maximum number of examples computed at once; larger batches accumulate gradients; 0: no limit",
        )
    }
)

# Sizes that rule C11 compares with the number of training examples once the data is read; defaults are reduced.
BOUNDED_BY_DATA = ("batch_size.size", "batch_size.minimum", "batch_size.maximum", "stopping.batch_maximum")
