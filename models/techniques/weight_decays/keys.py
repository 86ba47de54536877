"""The keys of weight decay: meaning, bounds, default and condition."""

from nightune.models.techniques.keys import Key
from nightune.models.techniques.weight_decays.weight_decays import (
    COUPLINGS,
    MEASURES,
    PROFILES,
    SCOPES,
    WeightDecaySettings,
)

_DECAYING = tuple(name for name in PROFILES if name != "none")
KEYS: dict[str, Key] = {
    "weight_decay.profile": Key(
        "option",
        WeightDecaySettings.profile,
        options=tuple(PROFILES),
        default_by={"optimizer": {"adamw": "fixed"}},  # AdamW without decay would be Adam
        meaning="course of the strength during training; adamw: by default `fixed`",
    ),
    "weight_decay.measure": Key(
        "option",
        WeightDecaySettings.measure,
        options=MEASURES,
        when={"weight_decay.profile": _DECAYING},
        meaning="whether λ is given, or the time scale of the decay, which does not depend on the batch size",
    ),
    "weight_decay.strength": Key(
        "float",
        WeightDecaySettings.strength,
        low=0.0,
        when={"weight_decay.measure": ("strength",)},
        meaning="λ: share that a weight loses per update, times the factor of the coupling",
    ),
    "weight_decay.time_scale": Key(
        "float",
        WeightDecaySettings.time_scale,
        low=0.0,
        is_open_low=True,
        when={"weight_decay.measure": ("time_scale",)},
        meaning="time constant of the decay at the peak rate, as a share of all updates of the budget",
    ),
    "weight_decay.final_fraction": Key(
        "float",
        WeightDecaySettings.final_fraction,
        low=0.0,
        high=1.0,
        is_open_low=True,
        when={"weight_decay.profile": ("exponential",)},
        meaning="strength at the end of the budget, as a share of that at the start",
    ),
    "weight_decay.coupling": Key(
        "option",
        WeightDecaySettings.coupling,
        options=tuple(COUPLINGS),
        when={"weight_decay.profile": _DECAYING},
        default_by={"optimizer": {"prodigy": "schedule", "dog": "schedule"}},  # these set their own rate
        meaning="factor of the strength: the learning rate, its share of the peak (default of prodigy, dog), or 1",
    ),
    "weight_decay.scope": Key(
        "option",
        WeightDecaySettings.scope,
        options=SCOPES,
        when={"weight_decay.profile": _DECAYING},
        meaning="weights that decay: kernels only, or all, with biases, normalization and embeddings",
    ),
}
