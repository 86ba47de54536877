"""Adaptive penalties: the strength of the next epoch, from measurements after the last one.

The examples that control the strength influence training. They are therefore a fixed share of the training split, held
out of the updates, and never the validation split, which ranks trials.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nightune.models.techniques.penalties.penalties import PenaltySettings

# Statistics of an epoch, by their logged names. Losses are without penalties, in inference mode.
TRAIN_LOSS = "train_loss_after"  # on a fixed sample of the training examples, after the last update
HELD_OUT_LOSS = "held_out_loss"
HYPERGRADIENT = "penalty_hypergradient"  # ∇L(θ') · θ: L the held-out loss, θ and θ' before and after the last update

_HELD_OUT_SEED = 4  # a separate seed: the same examples in every trial


@dataclass(frozen=True)
class Measured:
    """Measurements of an epoch. The penalty is `curvature`·λ·Σθ²; `rate` is that of the last update."""

    statistics: Mapping[str, float]
    rate: float
    curvature: float


def next_strength(settings: PenaltySettings, strength: float, measured: Measured) -> float:
    """Return λ of the next epoch, unchanged for non-finite measurements. ValueError if a measurement is missing."""
    if settings.adaptation == "none":
        return strength
    missing = [name for name in NEEDED[settings.adaptation] if name not in measured.statistics]
    if missing:
        raise ValueError(f"penalty.adaptation: {settings.adaptation} needs {missing[0]!r}, which was not measured")
    if not all(math.isfinite(measured.statistics[name]) for name in NEEDED[settings.adaptation]):
        return strength
    return ADAPTATIONS[settings.adaptation](settings, strength, measured)


def gap_control(settings: PenaltySettings, strength: float, measured: Measured) -> float:
    """log λ += κ·clip((gap − gap*)/gap*, −1, 1), where gap = (L_held_out − L_train)/L_train.

    A heuristic: it controls the gap and minimizes no objective.
    """
    train_loss = max(measured.statistics[TRAIN_LOSS], 1e-12)
    gap = (measured.statistics[HELD_OUT_LOSS] - train_loss) / train_loss
    step = min(1.0, max(-1.0, (gap - settings.target_gap) / settings.target_gap))
    return min(settings.maximum, max(settings.minimum, strength * math.exp(settings.adaptation_rate * step)))


def t1t2(settings: PenaltySettings, strength: float, measured: Measured) -> float:
    """Δ ← max(0, Δ + κη∇L(θ')·θ), where Δ = 2cλ is the decay in the penalty's gradient, Δ·θ.

    From ∂θ'/∂Δ = −ηθ, one update back (Luketina et al., 2016, for plain gradient descent). Applied once per epoch,
    after its last update. Experimental.
    """
    decay = 2.0 * measured.curvature * strength
    decay += settings.adaptation_rate * measured.rate * measured.statistics[HYPERGRADIENT]
    return min(settings.maximum, max(0.0, decay) / (2.0 * measured.curvature))


ADAPTATIONS: dict[str, Callable[[PenaltySettings, float, Measured], float]] = {"gap_control": gap_control, "t1t2": t1t2}

NEEDED = {"none": (), "gap_control": (TRAIN_LOSS, HELD_OUT_LOSS), "t1t2": (HELD_OUT_LOSS, HYPERGRADIENT)}


@dataclass(frozen=True, eq=False)
class Division:
    """The training split: the examples for updates and the held-out examples, as sorted indices."""

    trained: npt.NDArray[np.int32]
    held_out: npt.NDArray[np.int32]

    @property
    def sample(self) -> npt.NDArray[np.int32]:
        """Evenly spaced training examples, as many as are held out."""
        places = np.linspace(0, len(self.trained) - 1, min(len(self.trained), max(1, len(self.held_out))))
        return self.trained[places.astype(np.int64)]


def divide(settings: PenaltySettings, examples: int) -> Division:
    """Divide the training examples; without an adaptive penalty, none are held out."""
    count = 0
    if settings.adaptation != "none":
        count = max(1, round(settings.held_out_fraction * examples))
    if count >= examples:
        raise ValueError(f"penalty.held_out_fraction: {count} of {examples} examples leave none to train on; reduce it")
    shuffled = np.random.default_rng(_HELD_OUT_SEED).permutation(examples) if count else np.arange(examples)
    return Division(np.sort(shuffled[count:]).astype(np.int32), np.sort(shuffled[:count]).astype(np.int32))
