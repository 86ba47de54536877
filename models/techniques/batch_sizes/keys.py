"""The keys of batch sizes: bounds, defaults, and the policies for which they count."""

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
    """The key of a setting that counts only for these policies."""
    when = {"optimizer": MINI_BATCH_OPTIMIZERS, "batch_size.policy": policies}
    return Key(kind, getattr(_DEFAULTS, name), when=when, meaning=meaning, **more)


_PART: dict[str, Any] = {"low": 0.0, "high": 1.0, "is_open_low": True, "is_open_high": True}
_FACTOR: dict[str, Any] = {
    "low": 1.0,
    "is_open_low": True,
    "default_by": {"batch_size.policy": {"geometric": 1.2}},  # the article's, every epoch
}

KEYS: dict[str, Key] = (
    {
        "batch_size.policy": Key(
            "option",
            BatchSizeSettings.policy,
            options=tuple(POLICIES),
            when={"optimizer": MINI_BATCH_OPTIMIZERS},
            meaning="how the batch size develops during training",
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
                "examples in one update; of a size that changes, at first",
            ),
            ("minimum", "integer", ("random", *_MEASURED), {"low": 1}, "the size that none is below"),
            (
                "ratio",
                "integer",
                ("random",),
                {"low": 0},
                "the largest size drawn, as a multiple of the smallest; 0 draws up to the maximum",
            ),
            ("maximum", "integer", ("random", *_GROWING, *_MEASURED), {"low": 1}, "the size that none is above"),
            ("law", "option", ("random",), {"options": tuple(LAWS)}, "how the sizes are distributed"),
            ("factor", "float", _GROWING, _FACTOR, "what multiplies the size; geometric: 1.2 unless told otherwise"),
            ("patience", "integer", ("plateau_grow",), {"low": 0}, "epochs without an improvement that make a plateau"),
            ("min_delta", "float", ("plateau_grow",), {"low": 0.0}, "how much better counts as an improvement"),
            (
                "cooldown",
                "integer",
                ("plateau_grow",),
                {"low": 0},
                "epochs after a growth in which no waiting is counted",
            ),
            ("step_count", "integer", ("schedule_grow",), {"low": 1}, "how many milestones there are"),
            ("step_first", "float", ("schedule_grow",), _PART, "where in the budget the first milestone lies"),
            (
                "step_gap",
                "float",
                ("schedule_grow",),
                _PART,
                "how far on the next milestone lies, as a part of what then remains",
            ),
            ("interval", "integer", ("adabatch",), {"low": 1}, "epochs between two growths"),
            (
                "rate_factor",
                "float",
                ("adabatch",),
                {"low": 0.0, "high": 1.0, "is_open_low": True},
                "what multiplies the learning rate at each growth",
            ),
            (
                "noise_multiple",
                "float",
                ("gns", "divebatch"),
                {"low": 0.0, "is_open_low": True},
                "what multiplies the size that the gradients ask for: c of gns, δ of divebatch",
            ),
            (
                "noise_decay",
                "float",
                ("gns", "cabs"),
                {"low": 0.0, "high": 1.0, "is_open_high": True},
                "what the averages of what was measured keep at each update",
            ),
            (
                "remainder",
                "option",
                tuple(POLICIES),
                {"options": tuple(REMAINDERS)},
                "what becomes of an epoch's last, smaller batch: kept, dropped, or filled up from the epoch's start",
            ),
        )
    }
    | {
        "batch_size.micro_size": Key(
            "integer",
            BatchSizeSettings.micro_size,
            low=0,
            meaning="the most examples computed at once: larger batches add up gradients of smaller ones; 0: no limit",
        )
    }
)

# Sizes that rule C11 compares with the training examples as soon as there are any; a default is cut down instead.
BOUNDED_BY_DATA = ("batch_size.size", "batch_size.minimum", "batch_size.maximum", "stopping.batch_maximum")
