"""Learning rates: η of every update = peak × warm-up × schedule × factors of plateaus and the batch size.

The schedules and their clock are in schedules.py.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from nightune.models.techniques.learning_rates.batch_scaling import SCALINGS
from nightune.models.techniques.learning_rates.schedules import SCHEDULES, Array, Progress, one_cycle_momenta
from nightune.models.techniques.plateaus import PlateauRule

CYCLED_OPTIMIZERS = ("sgd", "adam", "adamw")  # these have a momentum or an equivalent β₁


@dataclass(frozen=True)
class LearningRateSettings:
    """The schedule and its settings; unused ones keep their defaults. Fractions are of the budget."""

    schedule: str = "fixed"
    peak: float = 1e-3
    warmup_fraction: float = 0.0
    final_fraction: float = 0.01
    step_factor: float = 0.1
    step_count: int = 2
    step_first: float = 0.5
    step_gap: float = 0.5
    power: float = 2.0
    decay_fraction: float = 0.2
    restart_cycles: int = 3
    restart_growth: float = 2.0
    restart_peak_factor: float = 1.0
    one_cycle_rise: float = 0.3
    one_cycle_start_divisor: float = 25.0
    one_cycle_final_divisor: float = 1e4
    one_cycle_momentum: str = "constant"
    one_cycle_momentum_low: float = 0.85
    one_cycle_momentum_high: float = 0.95
    plateau_factor: float = 0.5
    plateau_patience: int = 5
    plateau_min_delta: float = 0.0
    plateau_cooldown: int = 0
    plateau_minimum: float = 0.0
    batch_scaling: str = "none"
    reference_batch_size: int = 64
    clock: str = "examples"
    clock_batch_size: int = 64
    hypergradient_strength: float = 0.0
    hypergradient_minimum: float = 1e-8
    hypergradient_maximum: float = 10.0

    @property
    def cycles_momentum(self) -> bool:
        """True if the plan, not the optimizer, sets the momentum."""
        return self.schedule == "one_cycle" and self.one_cycle_momentum == "mirrored"


def learning_rates(settings: LearningRateSettings, progress: Progress) -> Array:
    """Return η of each update, before the factors of plateaus and the batch size.

    Warm-up multiplies by (t+1)/W over the first W updates; the schedule's own clock starts after it.
    """
    schedule = SCHEDULES[settings.schedule]
    arguments = {name: getattr(settings, name) for name in settings_of(schedule)}
    shape = schedule(progress.since(settings.warmup_fraction), **arguments)
    if settings.warmup_fraction > 0.0:
        shape = shape * np.minimum(1.0, progress.after / settings.warmup_fraction)
    return settings.peak * shape


def clock_progress(settings: LearningRateSettings, progress: Progress, updates: int, budget_examples: int) -> Progress:
    """Return the schedule's clock: the progress in examples, or in updates, given the number of earlier updates.

    The budget in updates is that of batches of `clock_batch_size`. Smaller batches reach the end of the schedule before
    the end of the budget, and keep its last value; larger ones do not reach it.
    """
    if settings.clock == "examples":
        return progress
    one_each = np.ones(len(progress.before), np.int32)
    return Progress.count(updates, one_each, -(-budget_examples // settings.clock_batch_size))


def momenta(settings: LearningRateSettings, progress: Progress) -> Array | None:
    """Return μ, or β₁, of each update if it is cycled against the rate; None if the optimizer's own is used."""
    if not settings.cycles_momentum:
        return None
    low, high = settings.one_cycle_momentum_low, settings.one_cycle_momentum_high
    return one_cycle_momenta(progress, settings.one_cycle_rise, low, high)


def plateau_multiplier(settings: LearningRateSettings, plateaus: int) -> float:
    """Return the factor of the rate after so many plateaus: `plateau_factor` for each, down to the minimum."""
    multiplier, floor = 1.0, settings.plateau_minimum / settings.peak
    for _ in range(plateaus):
        if multiplier > floor:
            multiplier = max(multiplier * settings.plateau_factor, floor)
    return multiplier


def plateau_rule(settings: LearningRateSettings) -> PlateauRule:
    """Return the plateau condition of the schedule `plateau`."""
    return PlateauRule(settings.plateau_patience, settings.plateau_min_delta, settings.plateau_cooldown)


def batch_scales(
    settings: LearningRateSettings, sizes: npt.NDArray[np.int32], noise_scale: float | None = None
) -> Array:
    """Return the factor of each update's rate due to its batch size, relative to the reference size.

    `noise_scale` is the last measured gradient noise scale, in examples; None = not measured yet.
    """
    reference = settings.reference_batch_size
    noise_scale = float(reference) if noise_scale is None else noise_scale
    return SCALINGS[settings.batch_scaling](sizes / reference, noise_scale / sizes)


@cache
def settings_of(schedule: Callable[..., Array]) -> tuple[str, ...]:
    """Return the names of the settings that a schedule reads."""
    return tuple(inspect.signature(schedule).parameters)[1:]
