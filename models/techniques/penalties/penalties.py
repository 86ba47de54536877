"""L1 and L2 penalties on the kernels, added to the training loss. Biases and normalization are not penalized.

An engine adds l1·Σ|w| + l2·Σw² (Keras' convention: no ½, no 1/n) to the mean loss. The article uses the convention of
statistics: data/2 + λΣ|w| for L1 and data/2 + (λ/2)Σw² for L2, where data is the squared error per example;
scikit-learn's Lasso(α) and ElasticNet(α, ρ) are equal to it with λ = α. A proximal L1 is not part of the loss: after
each step every kernel weight moves by η·l1 towards zero, and stays at zero if it reaches it.

Label smoothing is included because it acts as a penalty on confidence. Adaptive strengths are in adaptation.py.
"""

from collections.abc import Callable
from dataclasses import dataclass

from nightune.vocabulary import HEADS, refuse_unknown_task


@dataclass(frozen=True)
class PenaltySettings:
    """The penalty's kind, its total strength λ, the convention of λ, and the adaptation."""

    kind: str = "none"
    strength: float = 1e-4
    l1_ratio: float = 0.5
    convention: str = "keras"
    threshold: str = "exact"
    is_beside_weight_decay: bool = False
    label_smoothing: float = 0.0
    adaptation: str = "none"
    target_gap: float = 0.1
    adaptation_rate: float = 0.1
    minimum: float = 1e-8
    maximum: float = 1.0
    held_out_fraction: float = 0.1


@dataclass(frozen=True)
class Strengths:
    """The two factors of Keras' `L1L2(l1, l2)`, and the factor of the proximal step."""

    l1: float
    l2: float
    proximal: float = 0.0


def keras_strengths(settings: PenaltySettings, task: str, outputs: int = 1) -> Strengths:
    """Return the factors for a loss that is mean squared error in regression, cross-entropy otherwise.

    Several heads have no convention but Keras' (`contradiction` in models/training/settled_heads.py).

    `outputs` is the number of quantities or labels, over which Keras' losses average.
    """
    if task != HEADS:
        refuse_unknown_task(task)
    strengths = PENALTIES[settings.kind](settings)
    return CONVENTIONS[settings.convention](strengths, task, outputs)


def none(settings: PenaltySettings) -> Strengths:
    """No penalty."""
    return Strengths(0.0, 0.0)


def l1(settings: PenaltySettings) -> Strengths:
    """λ·Σ|w|: moves every weight towards zero at the same speed (Tibshirani, 1996)."""
    return Strengths(settings.strength, 0.0)


def l2(settings: PenaltySettings) -> Strengths:
    """λ·Σw²: moves every weight towards zero in proportion to its size (Hoerl & Kennard, 1970)."""
    return Strengths(0.0, settings.strength)


def elastic(settings: PenaltySettings) -> Strengths:
    """λρ of L1 and λ(1 − ρ) of L2 (Zou & Hastie, 2005)."""
    return Strengths(settings.strength * settings.l1_ratio, settings.strength * (1.0 - settings.l1_ratio))


def l1_proximal(settings: PenaltySettings) -> Strengths:
    """λ·Σ|w| by soft thresholding after each step, w ← sign(w)·max(|w| − ηλ, 0): zeros are exact.

    For sgd this is the proximal gradient method (Daubechies, Defrise & De Mol, 2004). For optimizers that scale their
    steps it is not: the threshold is ηλ for every weight, as in decoupled weight decay.
    """
    return Strengths(0.0, 0.0, settings.strength)


PENALTIES: dict[str, Callable[[PenaltySettings], Strengths]] = {
    "none": none,
    "l1": l1,
    "l2": l2,
    "elastic": elastic,
    "l1_proximal": l1_proximal,
}


def as_keras(strengths: Strengths, task: str, outputs: int) -> Strengths:
    """λ as given, with the loss of Keras."""
    return strengths


def as_article(strengths: Strengths, task: str, outputs: int) -> Strengths:
    """Convert λ₁Σ|w| + (λ₂/2)Σw² with half the squared error, or with the mean negative log-likelihood.

    Keras' mean squared error is 2/outputs times half the squared error, and its binary cross-entropy of several labels
    1/outputs times their negative log-likelihood, so the penalty is scaled by this factor.
    """
    scale = {"regression": 2.0 / outputs, "multilabel": 1.0 / outputs}.get(task, 1.0)
    return Strengths(scale * strengths.l1, scale * strengths.l2 / 2.0, scale * strengths.proximal)


CONVENTIONS: dict[str, Callable[[Strengths, str, int], Strengths]] = {"keras": as_keras, "article": as_article}
