"""Optimizers: the step for a gradient. η is the learning rate, g the mean gradient, t counts from 0.

Weight decay is applied by the engine, the same way for every optimizer and backend (weight_decays.py).
Parameters near 1 are searched as their distance from 1, on a log scale: momentum 0.9 is `one_minus_momentum = 0.1`.
Keys of a study file are in keys.py; update rules that Keras lacks, or has in another form, are in their own files.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# The engine sets the rate before each update; an engine that does not would train nothing, which every test detects.
UNSET_LEARNING_RATE = 0.0


@dataclass(frozen=True)
class OptimizerSettings:
    """The optimizer and its settings; unused ones keep their defaults."""

    kind: str = "adam"
    one_minus_momentum: float = 1.0
    nesterov: bool = False
    one_minus_beta_1: float = 0.1
    one_minus_beta_2: float = 0.001
    bias_correction: bool = True
    one_minus_rho: float = 0.1
    epsilon: float = 1e-7
    centered: bool = False
    initial_accumulator: float = 0.1
    initial_distance: float = 1e-6
    gradient_clip_kind: str = "none"
    gradient_clip_limit: float = 1.0
    weight_average_kind: str = "none"
    weight_average_one_minus_decay: float = 0.01

    @property
    def is_full_batch(self) -> bool:
        """True if every update uses all examples: one update per epoch, no batch size."""
        return self.kind == "gd"

    @property
    def momentum(self) -> float:
        """μ in [0, 1)."""
        return 1.0 - self.one_minus_momentum

    @property
    def family(self) -> str:
        """The rule with the same graph: gd is sgd on all examples, adamw is adam with weight decay."""
        return _FAMILIES.get(self.kind, self.kind)

    @property
    def structure(self) -> str:
        """The settings that change the graph of an update: the family, its slots and the clipping.

        Numbers are data of the graph, including momentum and Nesterov's, except for Muon's Nesterov.
        """
        words = [self.family]
        if self.kind == "rmsprop" and self.centered:
            words.append("centered")
        if self.kind == "muon" and self.nesterov:
            words.append("Nesterov")
        if self.is_literal:
            words.append("without bias correction")
        if self.gradient_clip_kind != "none":
            words.append(f"clipped by {self.gradient_clip_kind}")
        if self.weight_average_kind != "none":
            words.append(f"averaged by {self.weight_average_kind}")
        return " ".join(words)

    @property
    def shared_rule(self) -> str | None:
        """The name in SHARED_RULES of the optimizer's rule; None if it requires a program of its own.

        Shared rules compute the step of each weight from its own gradient and at most two slots, so that one program
        can hold all of them. Clipping by value is elementwise, too.
        """
        has_others = self.centered and self.kind == "rmsprop"
        has_others |= self.gradient_clip_kind not in ("none", "value") or self.weight_average_kind != "none"
        rule = "adam without bias correction" if self.is_literal else self.family
        return rule if rule in SHARED_RULES and not has_others else None

    @property
    def is_literal(self) -> bool:
        """True for Adam as printed in the article, without bias correction."""
        return self.kind in ("adam", "adamw") and not self.bias_correction

    @property
    def shared(self) -> dict[str, float]:
        """The arguments of Keras' optimizers that all kinds share."""
        clip = GRADIENT_CLIPS[self.gradient_clip_kind]
        return {"learning_rate": UNSET_LEARNING_RATE} | ({clip: float(self.gradient_clip_limit)} if clip else {})

    @property
    def betas(self) -> dict[str, float]:
        """β₁ and β₂ of the Adam family and of Lion."""
        return {"beta_1": float(1.0 - self.one_minus_beta_1), "beta_2": float(1.0 - self.one_minus_beta_2)}


def build_optimizer(settings: OptimizerSettings) -> Any:
    """Return a new Keras 3 optimizer without weight decay; the engine writes its learning rate.

    Every number is a Python float: in places Keras refuses 0 or np.float32 where it accepts 0.0.
    """
    from keras import optimizers  # noqa: PLC0415 - Keras takes seconds; a study file is checked without it

    return OPTIMIZERS[settings.kind](optimizers, settings)


def gd(optimizers: Any, settings: OptimizerSettings) -> Any:
    """Gradient descent on the whole training set: θ ← θ − ηg, one update per epoch (Cauchy, 1847)."""
    return optimizers.SGD(momentum=0.0, **settings.shared)


def sgd(optimizers: Any, settings: OptimizerSettings) -> Any:
    """Mini-batch gradient descent: v ← μv − ηg, θ ← θ + v; Nesterov: θ ← θ + μv − ηg (Sutskever et al., 2013).

    η is inside the velocity, as in Keras: a new η affects the earlier part of the velocity only as that decays.
    """
    return optimizers.SGD(momentum=float(settings.momentum), nesterov=settings.nesterov, **settings.shared)


def adam(optimizers: Any, settings: OptimizerSettings) -> Any:
    """Adam with bias correction (Kingma & Ba, 2015), ε as in the paper's last lines of section 2 ("ε hat").

    θ ← θ − η·√(1−β₂ᵗ⁺¹)/(1−β₁ᵗ⁺¹) · m/(√v + ε). PyTorch and optax add ε to the corrected √v̂: there, an
    ε 31.6 times smaller has the same effect at the first step. Without bias correction it is the article's version.
    """
    if settings.is_literal:
        from nightune.models.techniques.optimizers.uncorrected_adam import UncorrectedAdam  # noqa: PLC0415 - imports Keras

        return UncorrectedAdam(epsilon=float(settings.epsilon), **settings.betas, **settings.shared)
    return optimizers.Adam(epsilon=float(settings.epsilon), **settings.betas, **settings.shared)


def nadam(optimizers: Any, settings: OptimizerSettings) -> Any:
    """Adam with Nesterov's look-ahead (Dozat, 2016): β₁ rises as β₁(1 − ½·0.96^(t+1)), unlike in optax.

    ε is added to the corrected √v̂, unlike in Keras' Adam.
    """
    return optimizers.Nadam(epsilon=float(settings.epsilon), **settings.betas, **settings.shared)


def adamax(optimizers: Any, settings: OptimizerSettings) -> Any:
    """Adam by the largest gradient (Kingma & Ba, 2015, section 7): u ← max(β₂u, |g|), θ ← θ − η/(1−β₁ᵗ⁺¹)·m/(u + ε)."""
    return optimizers.Adamax(epsilon=float(settings.epsilon), **settings.betas, **settings.shared)


def lion(optimizers: Any, settings: OptimizerSettings) -> Any:
    """Steps of length η: θ ← θ − η·sign(β₁m + (1−β₁)g), then m ← β₂m + (1−β₂)g (Chen et al., 2023).

    It needs a rate 3 to 10 times lower than Adam, and a decay 3 to 10 times higher.
    """
    return optimizers.Lion(**settings.betas, **settings.shared)


def rmsprop(optimizers: Any, settings: OptimizerSettings) -> Any:
    """RMSprop (Hinton, 2012): s ← ρs + (1−ρ)g², θ ← θ − ηg/√(s + ε), with ε inside the root; momentum on top.

    If centered, the square of the mean gradient is subtracted from s under the root (Graves, 2013).
    """
    return optimizers.RMSprop(
        rho=float(1.0 - settings.one_minus_rho),
        momentum=float(settings.momentum),
        epsilon=float(settings.epsilon),
        centered=settings.centered,
        **settings.shared,
    )


def adagrad(optimizers: Any, settings: OptimizerSettings) -> Any:
    """Sum of squared gradients (Duchi et al., 2011): s ← s + g², θ ← θ − ηg/√(s + ε). PyTorch starts s at 0."""
    return optimizers.Adagrad(
        initial_accumulator_value=float(settings.initial_accumulator),
        epsilon=float(settings.epsilon),
        **settings.shared,
    )


def adadelta(optimizers: Any, settings: OptimizerSettings) -> Any:
    """RMSprop in the units of the weights (Zeiler, 2012): Δ = g·√(d + ε)/√(s + ε), d the mean of Δ², θ ← θ − ηΔ.

    The paper's rate is 1, a thousand times our default.
    """
    return optimizers.Adadelta(
        rho=float(1.0 - settings.one_minus_rho), epsilon=float(settings.epsilon), **settings.shared
    )


def lamb(optimizers: Any, settings: OptimizerSettings) -> Any:
    """Adam's corrected step, scaled to the norm of the variable times η (You et al., 2020): for large batches.

    θ ← θ − η·(|θ|/|u|)·u, u = m̂/(√v̂ + ε), the ratio 1 if either is 0. In the paper weight decay is inside u; here it
    is outside, as in Keras' Lamb: decoupled, as for every optimizer.
    """
    return optimizers.Lamb(epsilon=float(settings.epsilon), **settings.betas, **settings.shared)


def adafactor(optimizers: Any, settings: OptimizerSettings) -> Any:
    """Means of rows and columns instead of all squares (Shazeer & Stern, 2018); η is relative to the weights.

    θ ← θ − max(0.001, rms(θ))·min(η, 1/√(t+1))·û, û clipped to the root mean square 1. Keras caps the rate at
    1/√(t+1) even with `relative_step=False`, so that no schedule can exceed it (the note of rule C8).
    """
    return optimizers.Adafactor(relative_step=False, **settings.shared)


def muon(optimizers: Any, settings: OptimizerSettings) -> Any:
    """Momentum whose matrices are orthogonalized (Jordan et al., 2024) by five steps of Newton and Schulz.

    θ ← θ − 0.2·√max(rows, columns)·η·UVᵀ, the scale of Liu et al., 2025, which suits Adam's rates. Only for hidden
    kernels that are matrices; Adam trains all others, such as outputs and embeddings (keras_parts/muon_matrices.py).
    """
    adam_part = {f"adam_{name}": beta for name, beta in settings.betas.items()}
    return optimizers.Muon(
        momentum=float(settings.momentum),
        nesterov=settings.nesterov,
        epsilon=float(settings.epsilon),
        weight_decay=None,
        adam_weight_decay=None,
        **adam_part,
        **settings.shared,
    )


def prodigy(optimizers: Any, settings: OptimizerSettings) -> Any:
    """Adam that sets its own rate (Mishchenko & Defazio, 2023); η is a factor of it, by default 1."""
    from nightune.models.techniques.optimizers.prodigy import Prodigy  # noqa: PLC0415 - imports Keras

    epsilon, distance = float(settings.epsilon), float(settings.initial_distance)
    return Prodigy(epsilon=epsilon, distance=distance, **settings.betas, **settings.shared)


def dog(optimizers: Any, settings: OptimizerSettings) -> Any:
    """Distance over gradients (Ivgi et al., 2023): gradient descent that sets its own rate; η is a factor of it.

    By default the polynomial average of the theory is evaluated and kept.
    """
    from nightune.models.techniques.optimizers.distance_over_gradients import DistanceOverGradients  # noqa: PLC0415 - imports Keras

    return DistanceOverGradients(distance=float(settings.initial_distance), **settings.shared)


def schedule_free(optimizers: Any, settings: OptimizerSettings) -> Any:
    """Adam with an average of the iterates instead of a falling rate (Defazio et al., 2024), evaluated at the average.

    β₁ is the weight of the average in the point at which the gradient is taken.
    """
    from nightune.models.techniques.optimizers.schedule_free import ScheduleFree  # noqa: PLC0415 - imports Keras

    return ScheduleFree(epsilon=float(settings.epsilon), **settings.betas, **settings.shared)


OPTIMIZERS: dict[str, Callable[[Any, OptimizerSettings], Any]] = {
    "gd": gd,
    "sgd": sgd,
    "adam": adam,
    "adamw": adam,  # Loshchilov & Hutter, 2019: Adam with weight decay by default
    "rmsprop": rmsprop,
    "nadam": nadam,
    "lion": lion,
    "adagrad": adagrad,
    "adadelta": adadelta,
    "adamax": adamax,
    "lamb": lamb,
    "adafactor": adafactor,
    "muon": muon,
    "prodigy": prodigy,
    "dog": dog,
    "schedule_free": schedule_free,
}

_FAMILIES = {"gd": "sgd", "adamw": "adam"}

# The rules that one program holds, by name, with the kind of optimizer and its bias correction.
SHARED_RULES: dict[str, OptimizerSettings] = {
    **{kind: OptimizerSettings(kind) for kind in ("sgd", "adam", "rmsprop", "nadam", "lion")},
    **{kind: OptimizerSettings(kind) for kind in ("adagrad", "adadelta", "adamax")},
    "adam without bias correction": OptimizerSettings("adam", bias_correction=False),
}

# Gradient clipping, penalty included → Keras' argument for the limit.
GRADIENT_CLIPS: dict[str, str | None] = {
    "none": None,
    "norm": "clipnorm",  # the length of each variable's gradient
    "value": "clipvalue",  # the size of each single entry
    "global_norm": "global_clipnorm",  # the length of all variables' gradients together (Pascanu et al., 2013)
}

# Averages over the updates, evaluated and kept instead of the last weights (averaging.py).
WEIGHT_AVERAGES = ("none", "exponential", "polynomial")

MINI_BATCH_OPTIMIZERS = tuple(kind for kind in OPTIMIZERS if not OptimizerSettings(kind).is_full_batch)

# Optimizers that set their own rate → the allowed schedules, with or without warm-up.
ALLOWED_SCHEDULES = {"dog": ("fixed",), "schedule_free": ("fixed",), "prodigy": ("fixed", "cosine")}
