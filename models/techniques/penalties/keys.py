"""The keys of the penalty: meaning, bounds, default and condition."""

from nightune.models.techniques.keys import Key
from nightune.models.techniques.penalties.penalties import (
    CONVENTIONS,
    PENALTIES,
    PenaltySettings,
)

_PENALIZING = tuple(name for name in PENALTIES if name != "none")
_ADAPTING = ("gap_control", "t1t2")
KEYS: dict[str, Key] = {
    "penalty.kind": Key(
        "option",
        PenaltySettings.kind,
        options=tuple(PENALTIES),
        meaning="norm of the weights that is added to the training loss; never to a metric that ranks trials",
    ),
    "penalty.strength": Key(
        "float",
        PenaltySettings.strength,
        low=0.0,
        when={"penalty.kind": _PENALIZING},
        meaning="λ in the chosen convention; elastic: the sum of both parts",
    ),
    "penalty.l1_ratio": Key(
        "float",
        PenaltySettings.l1_ratio,
        low=0.0,
        high=1.0,
        when={"penalty.kind": ("elastic",)},
        meaning="ρ: share of the strength that is L1",
    ),
    "penalty.convention": Key(
        "option",
        PenaltySettings.convention,
        options=tuple(CONVENTIONS),
        when={"penalty.kind": _PENALIZING},
        meaning="meaning of λ: as in Keras' regularizers, or as in the article (scikit-learn's Lasso)",
    ),
    "penalty.threshold": Key(
        "option",
        PenaltySettings.threshold,
        options=("exact", "decoupled"),
        when={"penalty.kind": ("l1_proximal",)},
        meaning="exact: for sgd and gd only; decoupled: the threshold ηλ also for optimizers that scale their steps",
    ),
    "penalty.is_beside_weight_decay": Key(
        "boolean",
        PenaltySettings.is_beside_weight_decay,
        when={"penalty.kind": ("l2",)},
        meaning="allow l2 together with weight decay, which shrinks the same weights",
    ),
    "penalty.label_smoothing": Key(
        "float",
        PenaltySettings.label_smoothing,
        low=0.0,
        high=1.0,
        is_open_high=True,
        meaning="share of a target that is spread evenly over the classes, in the training loss only",
    ),
    "penalty.adaptation": Key(
        "option",
        PenaltySettings.adaptation,
        options=("none", *_ADAPTING),
        when={"penalty.kind": _PENALIZING},
        meaning="adaptation of the strength after each epoch; it needs examples held out of the training split",
    ),
    "penalty.target_gap": Key(
        "float",
        PenaltySettings.target_gap,
        low=0.0,
        is_open_low=True,
        when={"penalty.adaptation": ("gap_control",)},
        meaning="target gap between held-out and training loss, as a share of the training loss",
    ),
    "penalty.adaptation_rate": Key(
        "float",
        PenaltySettings.adaptation_rate,
        low=0.0,
        is_open_low=True,
        when={"penalty.adaptation": _ADAPTING},
        meaning="κ: step size of the adaptation; gap_control: of the logarithm of the strength",
    ),
    "penalty.minimum": Key(
        "float",
        PenaltySettings.minimum,
        low=0.0,
        is_open_low=True,
        when={"penalty.adaptation": ("gap_control",)},
        meaning="minimum strength",
    ),
    "penalty.maximum": Key(
        "float",
        PenaltySettings.maximum,
        low=0.0,
        is_open_low=True,
        when={"penalty.adaptation": _ADAPTING},
        meaning="maximum strength",
    ),
    "penalty.held_out_fraction": Key(
        "float",
        PenaltySettings.held_out_fraction,
        low=0.0,
        high=0.5,
        when={"penalty.adaptation": _ADAPTING},
        meaning="share of the training split that is held out to control the strength; the validation split only ranks",
    ),
}
