"""The keys of the learning rate: meaning, bounds, default and condition."""

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
    """The schedules that read a setting: those with an argument of its name, or `plateau` by its prefix."""
    if name.startswith("plateau_"):
        return ("plateau",)
    return tuple(schedule for schedule, function in SCHEDULES.items() if name in settings_of(function))


def _key(name: str, kind: str, meaning: str, **bounds: Any) -> Key:
    """The key of a setting that is active for the schedules that read it."""
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
            default_by={"optimizer": {"prodigy": 1.0, "dog": 1.0}},  # a factor of the rate that they find
            meaning="η₀, the maximum rate, which the schedule scales; prodigy, dog: a factor, by default 1",
            **_POSITIVE,
        ),
        "learning_rate.schedule": Key(
            "option",
            LearningRateSettings.schedule,
            options=tuple(SCHEDULES),
            meaning="course of the learning rate over the budget",
        ),
        "learning_rate.warmup_fraction": Key(
            "float",
            LearningRateSettings.warmup_fraction,
            low=0.0,
            high=1.0,
            is_open_high=True,
            when={"learning_rate.schedule": tuple(name for name in SCHEDULES if name != "one_cycle")},
            meaning="share of the budget in which the rate rises to its peak, before the schedule starts",
        ),
    }
    | {
        f"learning_rate.{name}": _key(name, kind, meaning, **bounds)
        for name, kind, bounds, meaning in (
            ("final_fraction", "float", _PART, "rate at the end of the budget, as a share of the peak"),
            ("step_factor", "float", _POSITIVE_PART, "factor of the rate at each milestone"),
            ("step_count", "integer", {"low": 1}, "number of milestones"),
            ("step_first", "float", _INNER_PART, "first milestone, as a share of the budget"),
            ("step_gap", "float", _INNER_PART, "distance to the next milestone, as a share of the remaining budget"),
            ("power", "float", _POSITIVE, "exponent of the polynomial; 1 is linear"),
            ("decay_fraction", "float", _POSITIVE_PART, "last share of the budget, in which the rate falls to 0"),
            ("restart_cycles", "integer", {"low": 1}, "number of cosine cycles in the budget"),
            ("restart_growth", "float", _POSITIVE, "length of each cycle, relative to the previous one"),
            ("restart_peak_factor", "float", _POSITIVE_PART, "peak of each cycle, relative to the previous one"),
            ("one_cycle_rise", "float", _INNER_PART, "share of the budget in which the rate rises"),
            ("one_cycle_start_divisor", "float", {"low": 1.0}, "peak divided by the first rate"),
            ("one_cycle_final_divisor", "float", {"low": 1.0}, "first rate divided by the last"),
            ("plateau_factor", "float", _INNER_PART, "factor of the rate on a plateau"),
            (
                "plateau_patience",
                "integer",
                {"low": 0},
                "epochs without improvement that form a plateau; 0 acts as 1",
            ),
            (
                "plateau_min_delta",
                "float",
                {"low": 0.0},
                "minimum improvement, in units of the metric",
            ),
            ("plateau_cooldown", "integer", {"low": 0}, "epochs after a reduction in which the wait counter stays 0"),
            (
                "plateau_minimum",
                "float",
                {"low": 0.0},
                "minimum rate after plateaus, before scaling by the batch size; a rate, not a share",
            ),
        )
    }
    | {
        "learning_rate.one_cycle_momentum": Key(
            "option",
            LearningRateSettings.one_cycle_momentum,
            options=("constant", "mirrored"),
            when={"learning_rate.schedule": ("one_cycle",), "optimizer": CYCLED_OPTIMIZERS},
            meaning="mirrored: momentum, or β₁, is high when the rate is low; it replaces the optimizer's own",
        ),
        "learning_rate.one_cycle_momentum_low": Key(
            "float",
            LearningRateSettings.one_cycle_momentum_low,
            is_open_high=True,
            when={"learning_rate.one_cycle_momentum": ("mirrored",)},
            meaning="momentum at the peak of the rate",
            **_PART,
        ),
        "learning_rate.one_cycle_momentum_high": Key(
            "float",
            LearningRateSettings.one_cycle_momentum_high,
            is_open_high=True,
            when={"learning_rate.one_cycle_momentum": ("mirrored",)},
            meaning="momentum at both ends of the budget",
            **_PART,
        ),
        "learning_rate.batch_scaling": Key(
            "option",
            LearningRateSettings.batch_scaling,
            options=tuple(SCALINGS),
            when={"optimizer": MINI_BATCH_OPTIMIZERS},
            meaning="scaling of the rate with the (initial) batch size; gns: also with the gradient noise",
        ),
        "learning_rate.reference_batch_size": Key(
            "integer",
            LearningRateSettings.reference_batch_size,
            low=1,
            when={"learning_rate.batch_scaling": tuple(name for name in SCALINGS if name != "none")},
            meaning="batch size for which the peak is given; gns: also the noise scale until the first measurement",
        ),
        "learning_rate.clock": Key(
            "option",
            LearningRateSettings.clock,
            options=("examples", "updates"),
            when={"optimizer": MINI_BATCH_OPTIMIZERS},
            meaning="unit of the schedule and warm-up; only with examples they are the same for every batch size",
        ),
        "learning_rate.clock_batch_size": Key(
            "integer",
            LearningRateSettings.clock_batch_size,
            low=1,
            when={"learning_rate.clock": ("updates",)},
            meaning="batch size whose updates fill the budget of the clock",
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
            ("strength", {"low": 0.0}, "β of the hypergradient, the step size for the rate itself; 0 is off"),
            ("minimum", _POSITIVE, "minimum rate of the hypergradient"),
            ("maximum", _POSITIVE, "maximum rate of the hypergradient"),
        )
    }
)
