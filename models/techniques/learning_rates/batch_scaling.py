"""Scaling of the learning rate with the batch size: a factor for the size of each update.

A scaling receives B/B₀, sizes relative to the reference size, and 𝓑/B, the measured noise scale relative to the sizes.
"""

from collections.abc import Callable

import numpy as np

from nightune.models.techniques.learning_rates.schedules import Array


def unscaled(size_ratios: Array, noise_ratios: Array) -> Array:
    """The same rate for every size."""
    return np.ones_like(size_ratios)


def linear_scaling(size_ratios: Array, noise_ratios: Array) -> Array:
    """η·B/B₀: for SGD, with a warm-up (Goyal et al., 2017)."""
    return size_ratios


def square_root_scaling(size_ratios: Array, noise_ratios: Array) -> Array:
    """η·√(B/B₀): for Adam and similar optimizers (Krizhevsky, 2014; Malladi et al., 2022)."""
    return np.sqrt(size_ratios)


def noise_scaling(size_ratios: Array, noise_ratios: Array) -> Array:
    """η/(1 + 𝓑/B) with the measured noise scale 𝓑, initially B₀ (McCandlish et al., 2018, eq. 2.6)."""
    return 1.0 / (1.0 + noise_ratios)


SCALINGS: dict[str, Callable[[Array, Array], Array]] = {
    "none": unscaled,
    "linear": linear_scaling,
    "sqrt": square_root_scaling,
    "gns": noise_scaling,
}
