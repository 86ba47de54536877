"""The keys of optimizers: meaning, bounds, default and condition."""

from nightune.models.techniques.keys import Key
from nightune.models.techniques.optimizers.optimizers import (
    GRADIENT_CLIPS,
    OPTIMIZERS,
    WEIGHT_AVERAGES,
    OptimizerSettings,
)

_ADAM_FAMILY = ("adam", "adamw", "nadam", "adamax", "lamb", "muon", "prodigy", "schedule_free")

KEYS: dict[str, Key] = {
    "optimizer": Key(
        "option",
        OptimizerSettings.kind,
        options=tuple(OPTIMIZERS),
        meaning="update rule; gd uses all examples in each update",
    ),
    "one_minus_momentum": Key(
        "float",
        OptimizerSettings.one_minus_momentum,
        low=0.0,
        high=1.0,
        is_open_low=True,
        when={"optimizer": ("sgd", "rmsprop", "muon")},
        default_by={"optimizer": {"muon": 0.05}},
        meaning="1 − μ: share of the velocity lost at each update; 1 is no momentum; muon: by default 0.05",
    ),
    "nesterov": Key(
        "boolean",
        OptimizerSettings.nesterov,
        when={"optimizer": ("sgd", "muon")},
        default_by={"optimizer": {"muon": True}},
        meaning="Nesterov momentum: look ahead along the velocity; no effect without momentum; muon: by default true",
    ),
    "one_minus_beta_1": Key(
        "float",
        OptimizerSettings.one_minus_beta_1,
        low=0.0,
        high=1.0,
        is_open_low=True,
        when={"optimizer": (*_ADAM_FAMILY, "lion")},
        meaning="1 − β₁: decay of the mean of the gradients; schedule_free: distance from the average",
    ),
    "one_minus_beta_2": Key(
        "float",
        OptimizerSettings.one_minus_beta_2,
        low=0.0,
        high=1.0,
        is_open_low=True,
        when={"optimizer": (*_ADAM_FAMILY, "lion")},
        default_by={"optimizer": {"lion": 0.01}},
        meaning="1 − β₂: decay of the mean of the squared gradients; lion: of the gradients, by default 0.01",
    ),
    "bias_correction": Key(
        "boolean",
        OptimizerSettings.bias_correction,
        when={"optimizer": ("adam", "adamw")},
        meaning="false: Adam as printed in the article, whose first step is 3.16 times too long; for comparison only",
    ),
    "one_minus_rho": Key(
        "float",
        OptimizerSettings.one_minus_rho,
        low=0.0,
        high=1.0,
        is_open_low=True,
        when={"optimizer": ("rmsprop", "adadelta")},
        default_by={"optimizer": {"adadelta": 0.05}},
        meaning="1 − ρ: decay of the mean of the squared gradients; adadelta: by default 0.05",
    ),
    "epsilon": Key(
        "float",
        OptimizerSettings.epsilon,
        low=0.0,
        is_open_low=True,
        when={"optimizer": (*_ADAM_FAMILY, "rmsprop", "adagrad", "adadelta")},
        meaning="ε, which bounds the step for very small gradients; in Keras' form, not PyTorch's",
    ),
    "centered": Key(
        "boolean",
        OptimizerSettings.centered,
        when={"optimizer": ("rmsprop",)},
        meaning="scale the step by the variance of the gradients instead of their mean square",
    ),
    "initial_accumulator": Key(
        "float",
        OptimizerSettings.initial_accumulator,
        low=0.0,
        when={"optimizer": ("adagrad",)},
        meaning="initial value of the sum of squared gradients",
    ),
    "initial_distance": Key(
        "float",
        OptimizerSettings.initial_distance,
        low=0.0,
        is_open_low=True,
        when={"optimizer": ("prodigy", "dog")},
        meaning="initial estimate of the distance to the solution; dog: relative to 1 + norm of the initial weights",
    ),
    "gradient_clip.kind": Key(
        "option",
        OptimizerSettings.gradient_clip_kind,
        options=tuple(GRADIENT_CLIPS),
        meaning="gradient clipping: limit each variable's norm, each value, or the global norm",
    ),
    "gradient_clip.limit": Key(
        "float",
        OptimizerSettings.gradient_clip_limit,
        low=0.0,
        is_open_low=True,
        when={"gradient_clip.kind": tuple(kind for kind in GRADIENT_CLIPS if kind != "none")},
        meaning="maximum norm or value of a gradient",
    ),
    "weight_average.kind": Key(
        "option",
        OptimizerSettings.weight_average_kind,
        options=WEIGHT_AVERAGES,
        when={"optimizer": tuple(kind for kind in OPTIMIZERS if kind != "schedule_free")},  # which has its own average
        default_by={"optimizer": {"dog": "polynomial"}},
        meaning="average of the weights over the updates that is evaluated and kept; dog: by default `polynomial`",
    ),
    "weight_average.one_minus_decay": Key(
        "float",
        OptimizerSettings.weight_average_one_minus_decay,
        low=0.0,
        high=1.0,
        is_open_low=True,
        when={"weight_average.kind": ("exponential",)},
        meaning="1 − d: share of the average that each update's weights replace",
    ),
}
