"""Batch sizes: the number of examples in each update of an epoch.

Each example is used exactly once per epoch, unless the remainder is dropped or wrapped. A policy decides before an
epoch starts, from the epoch's number, the plateaus so far and measurements of earlier epochs, so that the sizes are the
same in every engine and after a restart. No size exceeds the number of examples. If all other settings are tuned again
for them, larger batches make training faster, not better (Shallue et al., 2019).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from nightune.models.techniques.batch_sizes.gradient_noise import WANTED
from nightune.models.techniques.batch_sizes.settings import BatchSizeSettings
from nightune.models.techniques.learning_rates.schedules import milestones
from nightune.models.techniques.plateaus import PlateauRule

Sizes = npt.NDArray[np.int32]  # (updates,)
_SIZES = 1  # separates the generator of sizes from that of the data order, which has the same seed and epoch
_ROUNDING = 1e-9  # 1.2 × 5 is 6 despite rounding


@dataclass(frozen=True)
class Moment:
    """The inputs of a policy: the epoch, counted from 1, the epochs of the budget, and the plateaus before it."""

    examples: int
    epoch: int = 1
    epochs: int = 1
    plateaus: int = 0
    order_seed: int = 0
    measured_size: int = 0  # 0 = nothing measured yet

    @property
    def progress(self) -> float:
        """The share of the budget before this epoch."""
        return (self.epoch - 1) / self.epochs


@dataclass(frozen=True, eq=False)
class Batches:
    """The sizes of an epoch's updates, and their effect on the learning rate."""

    sizes: Sizes  # (updates,), with the examples as sum; fewer if the remainder is dropped, more if wrapped
    scaling_sizes: Sizes  # (updates,) the sizes for learning_rate.batch_scaling: without growth and remainder
    rate_multiplier: float = 1.0  # reduction of the rate by the policy, or in place of growth above the cap


@dataclass(frozen=True)
class Growth:
    """A grown size, and the reduction of the rate in place of growth above the cap."""

    size: int
    rate_multiplier: float = 1.0


def batch_sizes(settings: BatchSizeSettings, moment: Moment) -> Batches:
    """Return the sizes of one epoch's updates."""
    return POLICIES[settings.policy](settings, moment)


def whole(examples: int) -> Batches:
    """One update with all examples: gradient descent."""
    return _equal(examples, examples, examples, "keep")


def fixed(settings: BatchSizeSettings, moment: Moment) -> Batches:
    """The same size for every update; the last batch is the remainder.

    A size above the number of examples gives one update with all examples, as in Keras.
    """
    return _equal(settings.size, settings.size, moment.examples, settings.remainder)


def random(settings: BatchSizeSettings, moment: Moment) -> Batches:
    """A new size for every update, drawn from the law between minimum and maximum; the last one is truncated."""
    high = min(settings.largest, moment.examples)
    low = min(settings.minimum, high)
    generator = np.random.default_rng([moment.order_seed, moment.epoch, _SIZES])
    drawn = LAWS[settings.law](generator, low, high, -(-moment.examples // low))
    ends = np.cumsum(drawn, dtype=np.int64)
    updates = int(np.searchsorted(ends, moment.examples)) + 1
    sizes = drawn[:updates].copy()
    sizes[-1] -= ends[updates - 1] - moment.examples
    sizes = REMAINDERS[settings.remainder](sizes, int(drawn[updates - 1]))
    return Batches(sizes, drawn[: len(sizes)])


def geometric(settings: BatchSizeSettings, moment: Moment) -> Batches:
    """B ← max(B + 1, ⌊fB⌋) after every epoch; the rate is kept. Without B + 1, factor 1.2 has no effect below 5."""
    cap = min(settings.maximum, moment.examples)
    size = min(settings.size, cap)
    for _ in range(moment.epoch - 1):
        size = min(cap, max(size + 1, math.floor(settings.factor * size + _ROUNDING)))
    return _equal(size, settings.size, moment.examples, settings.remainder)


def plateau_grow(settings: BatchSizeSettings, moment: Moment) -> Batches:
    """B ← fB on every plateau, instead of η ← η/f, which takes over above the maximum."""
    return after_growths(settings, moment, moment.plateaus)


def schedule_grow(settings: BatchSizeSettings, moment: Moment) -> Batches:
    """B ← fB from the first epoch after each milestone, where a step schedule applies η ← η/f (Smith et al., 2018).

    Both reduce the noise ηN/B by the same factor. The milestones are those of the step schedule.
    """
    passed = milestones(settings.step_first, settings.step_gap, settings.step_count) <= moment.progress + _ROUNDING
    return after_growths(settings, moment, int(passed.sum()))


def adabatch(settings: BatchSizeSettings, moment: Moment) -> Batches:
    """B ← fB and η ← 0.75η after every interval of epochs (Devarakonda et al., 2017): η/B falls by 0.375 each time."""
    times = (moment.epoch - 1) // settings.interval
    return after_growths(settings, moment, times, settings.rate_factor**times)


def measured(settings: BatchSizeSettings, moment: Moment) -> Batches:
    """The measured size (gradient_noise.py), initially the given one; the rate is scaled by it."""
    size = min(moment.measured_size or settings.size, settings.maximum, moment.examples)
    return _equal(size, size, moment.examples, settings.remainder)


POLICIES: dict[str, Callable[[BatchSizeSettings, Moment], Batches]] = {
    "fixed": fixed,
    "random": random,
    "geometric": geometric,
    "plateau_grow": plateau_grow,
    "schedule_grow": schedule_grow,
    "adabatch": adabatch,
    **dict.fromkeys(WANTED, measured),
}


def keep(sizes: Sizes, full: int) -> Sizes:
    """Keep the remainder as the last update."""
    return sizes


def drop(sizes: Sizes, full: int) -> Sizes:
    """Drop the remainder in this epoch (the order changes each epoch), unless it is the only update."""
    return sizes[:-1] if sizes[-1] < full and len(sizes) > 1 else sizes


def wrap(sizes: Sizes, full: int) -> Sizes:
    """Fill the last update with the first examples of the epoch, unless it is the only update."""
    return np.append(sizes[:-1], np.int32(full)) if len(sizes) > 1 else sizes


REMAINDERS: dict[str, Callable[[Sizes, int], Sizes]] = {"keep": keep, "drop": drop, "wrap": wrap}


def uniform(generator: np.random.Generator, low: int, high: int, count: int) -> Sizes:
    """All sizes from low to high with equal probability."""
    return generator.integers(low, high, size=count, dtype=np.int32, endpoint=True)


def log_uniform(generator: np.random.Generator, low: int, high: int, count: int) -> Sizes:
    """As many draws between 8 and 16 as between 16 and 32: size B with a probability proportional to log(1 + 1/B)."""
    drawn = np.exp(generator.uniform(np.log(low), np.log(high + 1), size=count))
    return np.clip(np.floor(drawn + _ROUNDING), low, high).astype(np.int32)


LAWS: dict[str, Callable[[np.random.Generator, int, int, int], Sizes]] = {
    "uniform": uniform,
    "log_uniform": log_uniform,
}


def after_growths(settings: BatchSizeSettings, moment: Moment, times: int, rate_multiplier: float = 1.0) -> Batches:
    """Return the initial size after so many growths by the factor, up to the maximum and the number of examples."""
    growth = grown(settings.size, settings.factor, times, min(settings.maximum, moment.examples))
    batches = _equal(growth.size, settings.size, moment.examples, settings.remainder)
    return replace(batches, rate_multiplier=rate_multiplier * growth.rate_multiplier)


def grown(size: int, factor: float, times: int, cap: int) -> Growth:
    """Grow a size so many times; where the cap limits a growth, the unused part of the factor reduces the rate."""
    size, rate_multiplier = min(size, cap), 1.0
    for _ in range(times):
        wanted = max(size + 1, math.floor(factor * size + 0.5))
        if wanted > cap:
            rate_multiplier *= cap / size / factor
        size = min(wanted, cap)
    return Growth(size, rate_multiplier)


def plateau_rule(settings: BatchSizeSettings) -> PlateauRule:
    """Return the plateau condition of `plateau_grow`."""
    return PlateauRule(settings.patience, settings.min_delta, settings.cooldown)


def _equal(size: int, first_size: int, examples: int, remainder: str) -> Batches:
    """Updates of one size, except the remainder; the rate is scaled by the initial size of the policy."""
    full_batches, remaining = divmod(examples, size)
    sizes = np.array([size] * full_batches + [remaining] * (remaining > 0), dtype=np.int32)
    sizes = REMAINDERS[remainder](sizes, size)
    return Batches(sizes, np.full_like(sizes, min(first_size, examples)))
