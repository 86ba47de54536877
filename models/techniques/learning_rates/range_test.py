"""The learning-rate range test (Smith, 2017): a short training whose rate rises until the loss diverges.

It is not a schedule but a probe before the trials, which suggests a search range for `learning_rate.peak`.
Rates η_i = η_min·(η_max/η_min)^(i/(M−1)); the losses are smoothed by a bias-corrected moving average with β = 0.98,
which covers about 50 updates. The suggestion is the rate at which the smoothed loss falls most steeply against log η.
The rate at which the test stops is not the limit of stability: on ½aθ² it is 7 to 30 times above the limit 2/a, because
the smoothed loss lags.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nightune.models.techniques.optimizers.search_ranges import customary_ranges

Array = npt.NDArray[np.float64]  # (updates,)

SMOOTHING = 0.98
STOP_FACTOR = 4.0  # the test ends if the smoothed loss is above this multiple of its minimum
UPDATES = 200  # below 100 the smoothed loss lags behind by decades of rates
_SETTLING = 0.1  # the first share of the test, ignored because its mean of few losses is noisy
_ROUNDING = 1e-9  # a smoothed constant is not exactly constant
_MARGIN = 10.0  # the suggested range covers a decade on both sides; tested rates exceed the customary ones by a decade


@dataclass(frozen=True)
class RateRange:
    """A range for `learning_rate.peak`, to be searched on a log scale."""

    low: float
    high: float


@dataclass(frozen=True, eq=False)
class RangeTest:
    """The results of a test, one value per update: the rate, and the loss before the update."""

    rates: Array
    losses: Array
    smoothed: Array

    @property
    def curves(self) -> dict[str, Array]:
        """The three curves by their logged names."""
        return {"learning_rate": self.rates, "loss": self.losses, "smoothed_loss": self.smoothed}

    @property
    def suggestion(self) -> float | None:
        """The rate at the end of the steepest fall of the smoothed loss, or None if the loss never fell."""
        falls = np.diff(self.smoothed)  # against log η, whose steps are equal
        falls = np.where(np.isfinite(falls), falls, np.inf)
        first = int(_SETTLING * len(self.rates))
        if len(falls) <= first:
            return None
        steepest = first + int(np.argmin(falls[first:]))
        is_fall = falls[steepest] < -_ROUNDING * abs(self.smoothed[steepest])
        return float(self.rates[steepest + 1]) if is_fall else None

    @property
    def range(self) -> RateRange | None:
        """A decade on both sides of the suggestion, but at most the rate of the minimum of the smoothed loss."""
        middle = self.suggestion
        if middle is None:
            return None
        lowest = float(self.rates[np.nanargmin(self.smoothed)])
        return RateRange(_rounded(middle / _MARGIN), _rounded(max(middle, min(_MARGIN * middle, lowest))))


def rising_rates(low: float, high: float, updates: int) -> Array:
    """Return the rates of a test, from low to high by a constant ratio."""
    if not 0.0 < low < high or updates < 2:
        raise ValueError(f"a range test needs 0 < low < high and at least 2 updates (given: {low}, {high}, {updates})")
    return low * (high / low) ** (np.arange(updates) / (updates - 1))


def range_to_test(optimizer: str) -> RateRange | None:
    """Return the rates to test for an optimizer: a decade beyond its customary ones; None if it sets its own rate."""
    customary = customary_ranges(optimizer).get("learning_rate.peak")
    return RateRange(customary["low"] / _MARGIN, customary["high"] * _MARGIN) if isinstance(customary, dict) else None


def smoothed(losses: Sequence[float]) -> Array:
    """m_i/(1 − β^(i+1)) with m_i = βm_(i−1) + (1−β)ℓ_i: without the correction it starts near 0."""
    mean, means = 0.0, np.empty(len(losses))
    for place, loss in enumerate(losses):
        mean = SMOOTHING * mean + (1.0 - SMOOTHING) * loss
        means[place] = mean / (1.0 - SMOOTHING ** (place + 1))
    return means


def is_over(losses: Sequence[float]) -> bool:
    """True if the last loss is not finite, or the smoothed loss is above four times its minimum."""
    if not losses:
        return False
    if not math.isfinite(losses[-1]):
        return True
    means = smoothed(losses)
    return bool(means[-1] > STOP_FACTOR * means.min())


def read_range_test(rates: Array, losses: Sequence[float]) -> RangeTest:
    """Return the test of these losses; a non-finite last loss is left out."""
    finite = list(losses) if not losses or math.isfinite(losses[-1]) else list(losses)[:-1]
    return RangeTest(np.asarray(rates[: len(finite)]), np.array(finite, dtype=np.float64), smoothed(finite))


def _rounded(rate: float) -> float:
    """Round to two digits, the precision of a test with one seed."""
    return float(f"{rate:.1e}")
