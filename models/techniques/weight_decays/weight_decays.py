"""Weight decay: before each gradient step, every decayed weight loses a share s_t, θ ← θ(1 − s_t).

λ_t is the decay's strength by the profile, s_t the share by the coupling. η_t is the learning rate, η₀ its peak,
p_t the progress through the budget in [0, 1). The engine decays the weights of rank two and more outside of
normalization and embedding layers; with the scope all, it also decays biases, scales and offsets, as Keras does. This
is the same for every optimizer and backend.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]  # (updates,)


@dataclass(frozen=True)
class WeightDecaySettings:
    """The decay over time and its coupling to the learning rate."""

    profile: str = "none"
    strength: float = 0.004  # Keras' AdamW; PyTorch's is 0.01
    final_fraction: float = 0.1
    coupling: str = "learning_rate"
    scope: str = "kernels"
    measure: str = "strength"
    time_scale: float = 1.0


def decay_strengths(settings: WeightDecaySettings, progress: Array, rate_fractions: Array) -> Array:
    """Return λ_t of each update; `progress` is p_t before it, `rate_fractions` is η_t/η₀."""
    return PROFILES[settings.profile](settings, progress, rate_fractions)


def with_strength_by_time(settings: WeightDecaySettings, peak_rate: float, updates: int) -> WeightDecaySettings:
    """Return the settings with λ computed from the time scale, if the measure is `time_scale`.

    At the peak rate a weight decays with the time constant τ = 1/s (Wang & Aitchison, 2024); `updates` is the budget.
    """
    if settings.measure == "strength":
        return settings
    shrink = 1.0 / (settings.time_scale * updates)
    return replace(settings, strength=shrink / (peak_rate if settings.coupling == "learning_rate" else 1.0))


def decay_shrinks(settings: WeightDecaySettings, strengths: Array, rates: Array, rate_fractions: Array) -> Array:
    """Return s_t of each update: the share of a decayed weight that is removed."""
    return COUPLINGS[settings.coupling](strengths, rates, rate_fractions)


def none(settings: WeightDecaySettings, progress: Array, rate_fractions: Array) -> Array:
    """No decay: λ_t = 0."""
    return np.zeros_like(progress)


def fixed(settings: WeightDecaySettings, progress: Array, rate_fractions: Array) -> Array:
    """Constant strength: λ_t = λ."""
    return np.full_like(progress, settings.strength)


def exponential(settings: WeightDecaySettings, progress: Array, rate_fractions: Array) -> Array:
    """From λ towards λf, by a constant ratio per example: λ_t = λ·f^p_t."""
    return settings.strength * settings.final_fraction**progress


def tied(settings: WeightDecaySettings, progress: Array, rate_fractions: Array) -> Array:
    """The strength follows the learning rate: λ_t = λ·η_t/η₀. Coupled by the rate, s_t is proportional to η_t²."""
    return settings.strength * rate_fractions


PROFILES: dict[str, Callable[[WeightDecaySettings, Array, Array], Array]] = {
    "none": none,
    "fixed": fixed,
    "exponential": exponential,
    "tied": tied,
}


def by_learning_rate(strengths: Array, rates: Array, rate_fractions: Array) -> Array:
    """s_t = η_t·λ_t: Keras and PyTorch's AdamW, here for every optimizer."""
    return rates * strengths


def by_schedule(strengths: Array, rates: Array, rate_fractions: Array) -> Array:
    """s_t = (η_t/η₀)·λ_t: the form of Loshchilov & Hutter (2019); equal to `learning_rate` with λ/η₀."""
    return rate_fractions * strengths


def independent(strengths: Array, rates: Array, rate_fractions: Array) -> Array:
    """s_t = λ_t: independent of the learning rate."""
    return strengths


COUPLINGS: dict[str, Callable[[Array, Array, Array], Array]] = {
    "learning_rate": by_learning_rate,
    "schedule": by_schedule,
    "independent": independent,
}
SCOPES = ("kernels", "all")
MEASURES = ("strength", "time_scale")
