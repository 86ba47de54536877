"""Schedules: the learning rate as a share of its peak, by the progress through the budget.

A schedule is a pure function of progress in examples: the share of the budget (epochs × training examples) used
before and after an update. It therefore does not depend on the batch size, and a shorter rung is a prefix of the full
training; with `learning_rate.clock = "updates"` this does not hold. With a fixed batch size, T updates in total and t
counted from 0, `before` is t/T and `after` is (t+1)/T. The first update has progress 0; the last one is below 1.

The arguments of a schedule after `progress` are the settings that it reads; their keys are active for it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]  # (updates,)

_ROUNDING = 1e-12  # a step is also due if rounding leaves progress just below its milestone


@dataclass(frozen=True, eq=False)
class Progress:
    """The share of the budget's examples used before and after each update."""

    before: Array
    after: Array

    @classmethod
    def count(cls, seen: int, batch_sizes: npt.NDArray[np.int32], total: int) -> "Progress":
        """Continue from `seen` examples by the batch sizes, up to `total`, where the clock stops."""
        after = seen + np.cumsum(batch_sizes, dtype=np.int64)
        return cls(np.minimum(after - batch_sizes, total) / total, np.minimum(after, total) / total)

    def since(self, start: float) -> "Progress":
        """Return the progress of a clock that starts at `start` and is 0 before."""
        return Progress(*(np.maximum(0.0, (part - start) / (1.0 - start)) for part in (self.before, self.after)))


def fixed(progress: Progress) -> Array:
    """Constant 1."""
    return np.ones_like(progress.before)


def exponential(progress: Progress, final_fraction: float) -> Array:
    """f^p: a constant ratio per example, towards f. Keras' γ^(t/S) with f = γ^(T/S)."""
    return final_fraction**progress.before


def step(progress: Progress, step_factor: float, step_count: int, step_first: float, step_gap: float) -> Array:
    """Multiply by the factor at each milestone, from the update that starts there (Keras is one update late).

    The first milestone is `step_first`; each next one is `step_gap` of the remaining budget later.
    """
    passed = np.searchsorted(milestones(step_first, step_gap, step_count), progress.before + _ROUNDING, side="right")
    return step_factor ** passed.astype(np.float64)


def milestones(first: float, gap: float, count: int) -> Array:
    """Return the milestones as shares of the budget, ascending."""
    return 1.0 - (1.0 - first) * (1.0 - gap) ** np.arange(count, dtype=np.float64)


def plateau(progress: Progress) -> Array:
    """Constant 1: `plateau_multiplier` lowers the rate."""
    return np.ones_like(progress.before)


def cosine(progress: Progress, final_fraction: float) -> Array:
    """f + (1−f)·½(1 + cos πp): from 1 towards f (Loshchilov & Hutter, 2017)."""
    return final_fraction + (1.0 - final_fraction) * 0.5 * (1.0 + np.cos(np.pi * progress.before))


def linear(progress: Progress, final_fraction: float) -> Array:
    """1 − (1−f)p: linear from 1 towards f."""
    return 1.0 - (1.0 - final_fraction) * progress.before


def polynomial(progress: Progress, final_fraction: float, power: float) -> Array:
    """(1−f)(1−p)^q + f: with q above 1, fast in the beginning."""
    return (1.0 - final_fraction) * (1.0 - progress.before) ** power + final_fraction


def inverse_time(progress: Progress, final_fraction: float) -> Array:
    """1/(1 + rp) with r = 1/f − 1, so that it approaches f. Keras' 1/(1 + γt/S) with r = γT/S."""
    return 1.0 / (1.0 + (1.0 / final_fraction - 1.0) * progress.before)


def inverse_sqrt(progress: Progress, warmup_fraction: float) -> Array:
    """√(W/(t+1)) after W updates of warm-up, which is required (Vaswani et al., 2017)."""
    seen = warmup_fraction + progress.after * (1.0 - warmup_fraction)
    return np.sqrt(warmup_fraction / np.maximum(seen, warmup_fraction))


def one_cycle(
    progress: Progress, one_cycle_rise: float, one_cycle_start_divisor: float, one_cycle_final_divisor: float
) -> Array:
    """Rise along a cosine from 1/start to 1 at update rise·T − 1, fall along one to 1/(start·final) at the last update.

    PyTorch's OneCycleLR (Smith & Topin, 2018), whose last update uses the final value; the peak of optax is one
    update later. This is the rate only: `one_cycle_momenta` cycle the momentum in the opposite direction.
    """
    start, final = 1.0 / one_cycle_start_divisor, 1.0 / (one_cycle_start_divisor * one_cycle_final_divisor)
    is_rising, rise, fall = _one_cycle_phases(progress, one_cycle_rise)
    return np.where(is_rising, start + (1.0 - start) * _half_cosine(rise), 1.0 + (final - 1.0) * _half_cosine(fall))


def one_cycle_momenta(progress: Progress, rise_fraction: float, low: float, high: float) -> Array:
    """From high to low while the one-cycle rate rises, and back, along the same cosines (PyTorch's OneCycleLR)."""
    is_rising, rise, fall = _one_cycle_phases(progress, rise_fraction)
    return np.where(is_rising, high + (low - high) * _half_cosine(rise), low + (high - low) * _half_cosine(fall))


def wsd(progress: Progress, decay_fraction: float, warmup_fraction: float) -> Array:
    """Warm-up, stable, decay: 1 until the last share d of the budget, then linear to 0 (Hu et al., 2024)."""
    return np.minimum(1.0, (1.0 - progress.before) * (1.0 - warmup_fraction) / decay_fraction)


def cosine_restarts(
    progress: Progress,
    final_fraction: float,
    restart_cycles: int,
    restart_growth: float,
    restart_peak_factor: float,
) -> Array:
    """Cosine cycles that fill the budget, each `growth` times as long and `peak_factor` times as high (SGDR, 2017)."""
    lengths = restart_growth ** np.arange(restart_cycles)
    ends = np.cumsum(lengths) / np.sum(lengths)
    cycle = np.searchsorted(ends[:-1], progress.before + _ROUNDING, side="right")
    length = (lengths / np.sum(lengths))[cycle]
    within = np.clip(1.0 - (ends[cycle] - progress.before) / length, 0.0, 1.0)
    height = restart_peak_factor ** cycle.astype(np.float64)
    return final_fraction + (1.0 - final_fraction) * height * (1.0 - _half_cosine(within))


def _one_cycle_phases(progress: Progress, rise_fraction: float) -> tuple[npt.NDArray[np.bool_], Array, Array]:
    """Whether an update belongs to the rise, and the progress of the rise and the fall, in [0, 1]."""
    update = progress.after - progress.before
    rise = np.clip(progress.before / np.maximum(rise_fraction - update, _ROUNDING), 0.0, 1.0)
    fall = np.clip((progress.after - rise_fraction) / (1.0 - rise_fraction), 0.0, 1.0)
    return progress.after <= rise_fraction + _ROUNDING, rise, fall


def _half_cosine(part: Array) -> Array:
    """From 0 to 1 along half a period of a cosine."""
    return 0.5 * (1.0 - np.cos(np.pi * part))


SCHEDULES: dict[str, Callable[..., Array]] = {
    "fixed": fixed,
    "exponential": exponential,
    "step": step,
    "plateau": plateau,
    "cosine": cosine,
    "cosine_restarts": cosine_restarts,
    "linear": linear,
    "polynomial": polynomial,
    "inverse_time": inverse_time,
    "inverse_sqrt": inverse_sqrt,
    "one_cycle": one_cycle,
    "wsd": wsd,
}
