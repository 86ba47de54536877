"""Gradient noise: batch sizes that follow measurements of the gradients of an epoch.

An engine computes a batch in micro-batches and returns the mean squared norms of their gradients and of the gradient of
the batch, without regularizers. They give |G|², the squared norm of the true gradient, and tr Σ, the variance of one
example's gradient summed over the weights. The size changes after an epoch, by a factor of at most two, to a power of
two or a bound.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from nightune.models.techniques.batch_sizes.settings import BatchSizeSettings

# Measurements of an engine: the names in `EpochOutput.statistics`, and of the curves.
SQUARE = "gradient_square"  # |G|², unbiased: may be negative
VARIANCE = "gradient_variance"  # tr Σ
EPOCH_SQUARE = "epoch_gradient_square"  # the squared norm of the mean of all gradients of the epoch


@dataclass(frozen=True)
class Measured:
    """The measurements of one epoch. Missing ones are NaN; without any, sizes do not change."""

    updates: int
    rate: float  # η of its last update
    loss: float  # the mean training loss, without penalties
    square: float
    variance: float
    epoch_square: float = math.nan


@dataclass(frozen=True)
class NoiseState:
    """The state between epochs: the size, and moving averages that start at 0, with their total weight."""

    size: int = 0  # 0 = the initial size of the policy
    square: float = 0.0
    variance: float = 0.0
    weight: float = 0.0
    scale: float | None = None  # tr Σ/|G|² in examples, from the last epoch with positive |G|²


def two_size_estimates(
    large_square: float, small_square: float, large_size: float, small_size: float
) -> tuple[float, float]:
    """Return unbiased |G|² and tr Σ from the mean squared norms of gradients of two batch sizes.

    McCandlish et al., 2018, appendix A.1: E|g|² = |G|² + tr Σ/B. If the small batches are the k parts of the large
    one, weighted by their examples, `small_size` is B/k, also for unequal parts. NaN if the sizes are equal.
    """
    if large_size == small_size:
        return math.nan, math.nan
    square = (large_size * large_square - small_size * small_square) / (large_size - small_size)
    variance = (small_square - large_square) / (1.0 / small_size - 1.0 / large_size)
    return square, variance


def example_estimates(gradients: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return unbiased |G|² and tr Σ from (examples, weights) gradients of at least two single examples."""
    mean = gradients.mean(axis=0)
    variance = float(np.sum((gradients - mean) ** 2) / (len(gradients) - 1))
    return float(mean @ mean) - variance / len(gradients), variance


def diversity(gradients: npt.NDArray[np.float64]) -> float:
    """Σ|gᵢ|²/|Σgᵢ|² of (examples, weights) gradients (Yin et al., 2018): 1/n if all are equal."""
    total = gradients.sum(axis=0)
    return float(np.sum(gradients**2) / (total @ total))


def next_noise_state(settings: BatchSizeSettings, state: NoiseState, measured: Measured, examples: int) -> NoiseState:
    """Return the state after an epoch, with the next batch size if the policy follows the noise."""
    cap = min(settings.maximum, examples)
    size = state.size or min(settings.size, cap)
    if math.isfinite(measured.square) and math.isfinite(measured.variance):
        state = _averaged(state, settings.noise_decay, measured)
    wanted = WANTED[settings.policy](settings, state, measured) if settings.policy in WANTED else None
    if wanted is not None:
        size = min(max(_bucket(size, wanted), min(settings.minimum, cap)), cap)
    return replace(state, size=size)


def gns(settings: BatchSizeSettings, state: NoiseState, measured: Measured) -> float | None:
    """c·tr Σ/|G|², the simple noise scale (McCandlish et al., 2018), of separate averages; None if |G|² ≤ 0."""
    if state.square <= 0.0:
        return None
    return settings.noise_multiple * state.variance / state.square


def cabs(settings: BatchSizeSettings, state: NoiseState, measured: Measured) -> float | None:
    """η·tr Σ/F with the training loss F; a loss of 0 or less grows the batch (Balles et al., 2017, CABS)."""
    if state.weight == 0.0:
        return None
    wanted = measured.rate * state.variance / state.weight
    return wanted / measured.loss if measured.loss > 0.0 else math.inf


def divebatch(settings: BatchSizeSettings, state: NoiseState, measured: Measured) -> float | None:
    """δ·N·Δ with the epoch's gradient diversity Δ (Chen, Wang & Sundaram, 2025, arXiv 2509.16173).

    Σ|gᵢ|² is N(|G|² + tr Σ), exact for micro-batches of one example; |Σgᵢ|² is summed over the epoch.
    """
    example_square = measured.square + measured.variance
    if not (math.isfinite(example_square) and measured.epoch_square > 0.0):
        return None
    return settings.noise_multiple * example_square / measured.epoch_square


WANTED: dict[str, Callable[[BatchSizeSettings, NoiseState, Measured], float | None]] = {
    "gns": gns,
    "cabs": cabs,
    "divebatch": divebatch,
}


def _averaged(state: NoiseState, decay: float, measured: Measured) -> NoiseState:
    """The averages after an epoch, if all its updates had its mean measurements."""
    kept = decay**measured.updates
    square = kept * state.square + (1.0 - kept) * measured.square
    variance = kept * state.variance + (1.0 - kept) * measured.variance
    return replace(
        state,
        square=square,
        variance=variance,
        weight=kept * state.weight + (1.0 - kept),
        scale=variance / square if square > 0.0 else state.scale,
    )


def _bucket(size: int, wanted: float) -> int:
    """The power of two nearest to the wanted size, by ratio, between half and twice the current size."""
    bounded = min(max(wanted, size / 2), 2 * size)
    bucket = 2 ** max(0, round(math.log2(max(bounded, 1.0))))
    if bucket > 2 * size:
        return bucket // 2
    return bucket if 2 * bucket >= size else 2 * bucket
