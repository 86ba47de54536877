"""The keys of weight decay: meaning, bounds, default, and when each is active."""

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
        meaning="how the strength of the decay develops during training; adamw decays as `fixed` unless told otherwise",
    ),
    "weight_decay.measure": Key(
        "option",
        WeightDecaySettings.measure,
        options=MEASURES,
        when={"weight_decay.profile": _DECAYING},
        meaning="whether λ is given, or the time over which a weight forgets, which other batch sizes leave as it is",
    ),
    "weight_decay.strength": Key(
        "float",
        WeightDecaySettings.strength,
        low=0.0,
        when={"weight_decay.measure": ("strength",)},
        meaning="λ: per update, a weight loses this part of itself times what the coupling says",
    ),
    "weight_decay.time_scale": Key(
        "float",
        WeightDecaySettings.time_scale,
        low=0.0,
        is_open_low=True,
        when={"weight_decay.measure": ("time_scale",)},
        meaning="the updates over which a weight forgets at the peak rate, as a part of all updates of the budget",
    ),
    "weight_decay.final_fraction": Key(
        "float",
        WeightDecaySettings.final_fraction,
        low=0.0,
        high=1.0,
        is_open_low=True,
        when={"weight_decay.profile": ("exponential",)},
        meaning="the strength at the end of the budget, as a part of the strength at its start",
    ),
    "weight_decay.coupling": Key(
        "option",
        WeightDecaySettings.coupling,
        options=tuple(COUPLINGS),
        when={"weight_decay.profile": _DECAYING},
        default_by={"optimizer": {"prodigy": "schedule", "dog": "schedule"}},  # the rate that they find is their own
        meaning="what multiplies the strength: the learning rate, its part of the peak (prodigy, dog), or nothing",
    ),
    "weight_decay.scope": Key(
        "option",
        WeightDecaySettings.scope,
        options=SCOPES,
        when={"weight_decay.profile": _DECAYING},
        meaning="which weights decay: kernels only, or biases, normalization and embeddings as well",
    ),
}
