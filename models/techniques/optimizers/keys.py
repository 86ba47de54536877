"""The keys of a study file that are about optimizers: what each means, its bounds, its default and when it counts."""

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
        meaning="the rule that turns gradients into steps; gd uses all examples for each update",
    ),
    "one_minus_momentum": Key(
        "float",
        OptimizerSettings.one_minus_momentum,
        low=0.0,
        high=1.0,
        is_open_low=True,
        when={"optimizer": ("sgd", "rmsprop", "muon")},
        default_by={"optimizer": {"muon": 0.05}},
        meaning="1 − μ: the part of the velocity lost at each update; 1 is no momentum; muon: by default 0.05",
    ),
    "nesterov": Key(
        "boolean",
        OptimizerSettings.nesterov,
        when={"optimizer": ("sgd", "muon")},
        default_by={"optimizer": {"muon": True}},
        meaning="whether the step looks ahead along the velocity; without momentum no change; muon: by default true",
    ),
    "one_minus_beta_1": Key(
        "float",
        OptimizerSettings.one_minus_beta_1,
        low=0.0,
        high=1.0,
        is_open_low=True,
        when={"optimizer": (*_ADAM_FAMILY, "lion")},
        meaning="1 − β₁: how fast the mean of the gradients forgets; schedule_free: how far from the average it goes",
    ),
    "one_minus_beta_2": Key(
        "float",
        OptimizerSettings.one_minus_beta_2,
        low=0.0,
        high=1.0,
        is_open_low=True,
        when={"optimizer": (*_ADAM_FAMILY, "lion")},
        default_by={"optimizer": {"lion": 0.01}},
        meaning="1 − β₂: how fast the mean of the squared gradients forgets; lion: of the gradients, by default 0.01",
    ),
    "bias_correction": Key(
        "boolean",
        OptimizerSettings.bias_correction,
        when={"optimizer": ("adam", "adamw")},
        meaning="false is Adam as the article prints it, whose first step is 3.16 times too long: to compare with only",
    ),
    "one_minus_rho": Key(
        "float",
        OptimizerSettings.one_minus_rho,
        low=0.0,
        high=1.0,
        is_open_low=True,
        when={"optimizer": ("rmsprop", "adadelta")},
        default_by={"optimizer": {"adadelta": 0.05}},
        meaning="1 − ρ: how fast the mean of the squared gradients forgets; adadelta: by default 0.05",
    ),
    "epsilon": Key(
        "float",
        OptimizerSettings.epsilon,
        low=0.0,
        is_open_low=True,
        when={"optimizer": (*_ADAM_FAMILY, "rmsprop", "adagrad", "adadelta")},
        meaning="ε, which bounds the step where gradients are tiny; in Keras' form, not PyTorch's",
    ),
    "centered": Key(
        "boolean",
        OptimizerSettings.centered,
        when={"optimizer": ("rmsprop",)},
        meaning="whether the mean gradient counts, so that the variance is what scales the step",
    ),
    "initial_accumulator": Key(
        "float",
        OptimizerSettings.initial_accumulator,
        low=0.0,
        when={"optimizer": ("adagrad",)},
        meaning="what the sum of the squared gradients starts from",
    ),
    "initial_distance": Key(
        "float",
        OptimizerSettings.initial_distance,
        low=0.0,
        is_open_low=True,
        when={"optimizer": ("prodigy", "dog")},
        meaning="the first guess of how far the solution is; dog: as a part of 1 + the length of all first weights",
    ),
    "gradient_clip.kind": Key(
        "option",
        OptimizerSettings.gradient_clip_kind,
        options=tuple(GRADIENT_CLIPS),
        meaning="what of the gradient is limited: each variable's norm, each value, or the norm of all together",
    ),
    "gradient_clip.limit": Key(
        "float",
        OptimizerSettings.gradient_clip_limit,
        low=0.0,
        is_open_low=True,
        when={"gradient_clip.kind": tuple(kind for kind in GRADIENT_CLIPS if kind != "none")},
        meaning="the largest norm or value that a gradient keeps",
    ),
    "weight_average.kind": Key(
        "option",
        OptimizerSettings.weight_average_kind,
        options=WEIGHT_AVERAGES,
        when={"optimizer": tuple(kind for kind in OPTIMIZERS if kind != "schedule_free")},  # it has its own
        default_by={"optimizer": {"dog": "polynomial"}},
        meaning="which average of the weights over the updates is measured and kept; dog: by default `polynomial`",
    ),
    "weight_average.one_minus_decay": Key(
        "float",
        OptimizerSettings.weight_average_one_minus_decay,
        low=0.0,
        high=1.0,
        is_open_low=True,
        when={"weight_average.kind": ("exponential",)},
        meaning="1 − d: the part of the average that each update's weights replace",
    ),
}
