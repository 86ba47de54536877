"""Batch sizes: how many examples each update of an epoch uses. Every example is used exactly once an epoch.

Unless the remainder is dropped or filled up. A policy decides before an epoch starts, from the epoch's number, the
plateaus so far and what earlier epochs measured, so that the same sizes follow in every engine and after a restart. No
size is above the number of examples. Larger batches make training faster, not better, where everything else is tuned
again for them (Shallue et al., 2019).
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
_SIZES = 1  # tells the generator of the sizes from that of the data's order, which has the same seed and epoch
_ROUNDING = 1e-9  # 1.2 × 5 is 6, whatever floating point makes of it


@dataclass(frozen=True)
class Moment:
    """What a policy may look at: the epoch, counted from 1, the budget's epochs and the plateaus before it."""

    examples: int
    epoch: int = 1
    epochs: int = 1
    plateaus: int = 0
    order_seed: int = 0
    measured_size: int = 0  # 0 = nothing measured yet

    @property
    def progress(self) -> float:
        """The part of the budget before this epoch."""
        return (self.epoch - 1) / self.epochs


@dataclass(frozen=True, eq=False)
class Batches:
    """The sizes of an epoch's updates and what they mean for the learning rate."""

    sizes: Sizes  # (updates,) summing to the examples, to fewer if the remainder is dropped, to more if filled up
    scaling_sizes: Sizes  # (updates,) what learning_rate.batch_scaling goes by: no growth, no left-over
    rate_multiplier: float = 1.0  # what growing costs the rate, or what a cap leaves for it to do


@dataclass(frozen=True)
class Growth:
    """A grown size, and what the growth that a cap made impossible does to the rate instead."""

    size: int
    rate_multiplier: float = 1.0


def batch_sizes(settings: BatchSizeSettings, moment: Moment) -> Batches:
    """Return the sizes of one epoch's updates."""
    return POLICIES[settings.policy](settings, moment)


def whole(examples: int) -> Batches:
    """One update with all examples: gradient descent."""
    return _equal(examples, examples, examples, "keep")


def fixed(settings: BatchSizeSettings, moment: Moment) -> Batches:
    """The same size for every update; the last batch is what is left over.

    A size above the number of examples is one update of all of them, as in Keras.
    """
    return _equal(settings.size, settings.size, moment.examples, settings.remainder)


def random(settings: BatchSizeSettings, moment: Moment) -> Batches:
    """A new size for every update, drawn from the law between the smallest and the largest; the last is cut short."""
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
    """B ← max(B + 1, ⌊fB⌋) after every epoch; the rate stays. Without B + 1, a factor of 1.2 is stuck below 5."""
    cap = min(settings.maximum, moment.examples)
    size = min(settings.size, cap)
    for _ in range(moment.epoch - 1):
        size = min(cap, max(size + 1, math.floor(settings.factor * size + _ROUNDING)))
    return _equal(size, settings.size, moment.examples, settings.remainder)


def plateau_grow(settings: BatchSizeSettings, moment: Moment) -> Batches:
    """B ← fB on every plateau, in place of η ← η/f, which has to do what the maximum leaves undone."""
    return after_growths(settings, moment, moment.plateaus)


def schedule_grow(settings: BatchSizeSettings, moment: Moment) -> Batches:
    """B ← fB from the first epoch after each milestone, where a step schedule would have η ← η/f (Smith et al., 2018).

    Both lower the noise ηN/B alike. The milestones are those of the step schedule: parts of the budget.
    """
    passed = milestones(settings.step_first, settings.step_gap, settings.step_count) <= moment.progress + _ROUNDING
    return after_growths(settings, moment, int(passed.sum()))


def adabatch(settings: BatchSizeSettings, moment: Moment) -> Batches:
    """B ← fB and η ← 0.75η after every interval of epochs (Devarakonda et al., 2017): η/B falls by 0.375 each time."""
    times = (moment.epoch - 1) // settings.interval
    return after_growths(settings, moment, times, settings.rate_factor**times)


def measured(settings: BatchSizeSettings, moment: Moment) -> Batches:
    """The size that the gradients asked for (gradient_noise.py), at first the given one; the rate is scaled by it."""
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
    """The last update has what is left over."""
    return sizes


def drop(sizes: Sizes, full: int) -> Sizes:
    """What is left over is not used in this epoch, whose order is another each time; an only update stays."""
    return sizes[:-1] if sizes[-1] < full and len(sizes) > 1 else sizes


def wrap(sizes: Sizes, full: int) -> Sizes:
    """The last update is filled up with the first examples of the epoch; an only update stays."""
    return np.append(sizes[:-1], np.int32(full)) if len(sizes) > 1 else sizes


REMAINDERS: dict[str, Callable[[Sizes, int], Sizes]] = {"keep": keep, "drop": drop, "wrap": wrap}


def uniform(generator: np.random.Generator, low: int, high: int, count: int) -> Sizes:
    """Every size from low to high alike."""
    return generator.integers(low, high, size=count, dtype=np.int32, endpoint=True)


def log_uniform(generator: np.random.Generator, low: int, high: int, count: int) -> Sizes:
    """As many draws between 8 and 16 as between 16 and 32: size B with a probability in proportion to log(1 + 1/B)."""
    drawn = np.exp(generator.uniform(np.log(low), np.log(high + 1), size=count))
    return np.clip(np.floor(drawn + _ROUNDING), low, high).astype(np.int32)


LAWS: dict[str, Callable[[np.random.Generator, int, int, int], Sizes]] = {
    "uniform": uniform,
    "log_uniform": log_uniform,
}


def after_growths(settings: BatchSizeSettings, moment: Moment, times: int, rate_multiplier: float = 1.0) -> Batches:
    """The first size after so many growths by the factor, up to the maximum and the examples."""
    growth = grown(settings.size, settings.factor, times, min(settings.maximum, moment.examples))
    batches = _equal(growth.size, settings.size, moment.examples, settings.remainder)
    return replace(batches, rate_multiplier=rate_multiplier * growth.rate_multiplier)


def grown(size: int, factor: float, times: int, cap: int) -> Growth:
    """Let a size grow so many times; where the cap cuts a growth short, the rate falls by the factor's unused part."""
    size, rate_multiplier = min(size, cap), 1.0
    for _ in range(times):
        wanted = max(size + 1, math.floor(factor * size + 0.5))
        if wanted > cap:
            rate_multiplier *= cap / size / factor
        size = min(wanted, cap)
    return Growth(size, rate_multiplier)


def plateau_rule(settings: BatchSizeSettings) -> PlateauRule:
    """What `plateau_grow` takes for a plateau."""
    return PlateauRule(settings.patience, settings.min_delta, settings.cooldown)


def _equal(size: int, first_size: int, examples: int, remainder: str) -> Batches:
    """Updates of one size but for the left-over; the rate is scaled by the size that the policy started with."""
    full_batches, left_over = divmod(examples, size)
    sizes = np.array([size] * full_batches + [left_over] * (left_over > 0), dtype=np.int32)
    sizes = REMAINDERS[remainder](sizes, size)
    return Batches(sizes, np.full_like(sizes, min(first_size, examples)))
