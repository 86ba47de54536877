"""The keys of the learning rate: meaning, bounds, default, and when each is active."""

from typing import Any

from nightune.models.techniques.keys import Key
from nightune.models.techniques.learning_rates.batch_scaling import SCALINGS
from nightune.models.techniques.learning_rates.learning_rates import (
    CYCLED_OPTIMIZERS,
    LearningRateSettings,
    settings_of,
)
from nightune.models.techniques.learning_rates.schedules import SCHEDULES
from nightune.models.techniques.optimizers.optimizers import MINI_BATCH_OPTIMIZERS


def _readers(name: str) -> tuple[str, ...]:
    """The schedules that read a setting: by an argument of its name, or by the plateau's prefix."""
    if name.startswith("plateau_"):
        return ("plateau",)
    return tuple(schedule for schedule, function in SCHEDULES.items() if name in settings_of(function))


def _key(name: str, kind: str, meaning: str, **bounds: Any) -> Key:
    """The key of a setting that counts only for the schedules that read it."""
    default = getattr(LearningRateSettings, name)
    return Key(kind, default, when={"learning_rate.schedule": _readers(name)}, meaning=meaning, **bounds)


_POSITIVE: dict[str, Any] = {"low": 0.0, "is_open_low": True}
_PART: dict[str, Any] = {"low": 0.0, "high": 1.0}
_POSITIVE_PART: dict[str, Any] = {**_PART, "is_open_low": True}
_INNER_PART: dict[str, Any] = {**_POSITIVE_PART, "is_open_high": True}
KEYS: dict[str, Key] = (
    {
        "learning_rate.peak": Key(
            "float",
            LearningRateSettings.peak,
            default_by={"optimizer": {"prodigy": 1.0, "dog": 1.0}},  # they find the rate, which this multiplies
            meaning="η₀, the highest rate, which the schedule scales; prodigy, dog: 1 unless told otherwise",
            **_POSITIVE,
        ),
        "learning_rate.schedule": Key(
            "option",
            LearningRateSettings.schedule,
            options=tuple(SCHEDULES),
            meaning="how the learning rate develops over the budget",
        ),
        "learning_rate.warmup_fraction": Key(
            "float",
            LearningRateSettings.warmup_fraction,
            low=0.0,
            high=1.0,
            is_open_high=True,
            when={"learning_rate.schedule": tuple(name for name in SCHEDULES if name != "one_cycle")},
            meaning="the part of the budget over which the rate rises to its peak, before the schedule starts",
        ),
    }
    | {
        f"learning_rate.{name}": _key(name, kind, meaning, **bounds)
        for name, kind, bounds, meaning in (
            ("final_fraction", "float", _PART, "the rate at the end of the budget, as a part of the peak"),
            ("step_factor", "float", _POSITIVE_PART, "what multiplies the rate at each milestone"),
            ("step_count", "integer", {"low": 1}, "how many milestones there are"),
            ("step_first", "float", _INNER_PART, "where in the budget the first milestone lies"),
            ("step_gap", "float", _INNER_PART, "how far on the next milestone lies, as a part of what then remains"),
            ("power", "float", _POSITIVE, "the exponent of the polynomial; 1 is a straight line"),
            ("decay_fraction", "float", _POSITIVE_PART, "the last part of the budget, over which the rate falls to 0"),
            ("restart_cycles", "integer", {"low": 1}, "how many cosine cycles fill the budget"),
            ("restart_growth", "float", _POSITIVE, "how many times longer each cycle is than the one before"),
            ("restart_peak_factor", "float", _POSITIVE_PART, "how high a cycle starts, as a part of the one before"),
            ("one_cycle_rise", "float", _INNER_PART, "the part of the budget over which the rate rises"),
            ("one_cycle_start_divisor", "float", {"low": 1.0}, "the peak divided by the first rate"),
            ("one_cycle_final_divisor", "float", {"low": 1.0}, "the first rate divided by the last"),
            ("plateau_factor", "float", _INNER_PART, "what multiplies the rate on a plateau"),
            (
                "plateau_patience",
                "integer",
                {"low": 0},
                "epochs without an improvement that make a plateau; 0 acts as 1",
            ),
            (
                "plateau_min_delta",
                "float",
                {"low": 0.0},
                "how much better counts as an improvement, in units of the metric",
            ),
            ("plateau_cooldown", "integer", {"low": 0}, "epochs after a reduction in which no waiting is counted"),
            (
                "plateau_minimum",
                "float",
                {"low": 0.0},
                "the rate, before scaling by the batch size, below which no plateau lowers it; not a part, a rate",
            ),
        )
    }
    | {
        "learning_rate.one_cycle_momentum": Key(
            "option",
            LearningRateSettings.one_cycle_momentum,
            options=("constant", "mirrored"),
            when={"learning_rate.schedule": ("one_cycle",), "optimizer": CYCLED_OPTIMIZERS},
            meaning="mirrored: the momentum, or β₁, is high where the rate is low, whatever the optimizer's own says",
        ),
        "learning_rate.one_cycle_momentum_low": Key(
            "float",
            LearningRateSettings.one_cycle_momentum_low,
            is_open_high=True,
            when={"learning_rate.one_cycle_momentum": ("mirrored",)},
            meaning="the momentum where the rate is at its peak",
            **_PART,
        ),
        "learning_rate.one_cycle_momentum_high": Key(
            "float",
            LearningRateSettings.one_cycle_momentum_high,
            is_open_high=True,
            when={"learning_rate.one_cycle_momentum": ("mirrored",)},
            meaning="the momentum at both ends of the budget",
            **_PART,
        ),
        "learning_rate.batch_scaling": Key(
            "option",
            LearningRateSettings.batch_scaling,
            options=tuple(SCALINGS),
            when={"optimizer": MINI_BATCH_OPTIMIZERS},
            meaning="how the rate goes with the batch size, a growing one's first; gns: and with the noise",
        ),
        "learning_rate.reference_batch_size": Key(
            "integer",
            LearningRateSettings.reference_batch_size,
            low=1,
            when={"learning_rate.batch_scaling": tuple(name for name in SCALINGS if name != "none")},
            meaning="the batch size that the peak is meant for; gns: the noise scale until one is measured",
        ),
        "learning_rate.clock": Key(
            "option",
            LearningRateSettings.clock,
            options=("examples", "updates"),
            when={"optimizer": MINI_BATCH_OPTIMIZERS},
            meaning="what the schedule and the warm-up count; only examples make it the same for every batch size",
        ),
        "learning_rate.clock_batch_size": Key(
            "integer",
            LearningRateSettings.clock_batch_size,
            low=1,
            when={"learning_rate.clock": ("updates",)},
            meaning="the batch size whose updates fill the budget of the clock",
        ),
    }
    | {
        f"learning_rate.hypergradient_{name}": Key(
            "float",
            getattr(LearningRateSettings, f"hypergradient_{name}"),
            when={"optimizer": ("gd", "sgd", "adam", "adamw")},
            meaning=meaning,
            **bounds,
        )
        for name, bounds, meaning in (
            ("strength", {"low": 0.0}, "β of the hypergradient: how fast the rate follows its own gradient; 0 is off"),
            ("minimum", _POSITIVE, "the rate that the hypergradient does not go below"),
            ("maximum", _POSITIVE, "the rate that the hypergradient does not go above"),
        )
    }
)
