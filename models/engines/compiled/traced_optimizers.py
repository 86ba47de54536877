"""Build Keras' optimizers with hyperparameters as variables instead of Python floats.

One graph serves a whole family: momentum 0 and above, with or without Nesterov, any β, ρ, ε and clipping limit.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MethodType
from typing import Any

import keras
from keras import ops

from nightune.models.engines.keras_parts.traced_scalar import Hyperparameter
from nightune.models.engines.keras_parts.updates import build_recipe_optimizer
from nightune.models.library_internals.optimizers import (
    adagrad_sums,
    index_of,
    replace_clipping,
    set_untracked,
    sgd_velocity,
    with_existing_slots,
    with_neutral_update,
)
from nightune.models.recipe.recipe import Recipe
from nightune.models.techniques.optimizers.optimizers import GRADIENT_CLIPS, OptimizerSettings, build_optimizer
from nightune.vocabulary import row_of

Read = Callable[[Recipe], float]
ReadSettings = Callable[[OptimizerSettings], float]
Hyperparameters = dict[str, tuple[Hyperparameter, Read]]  # by name: variables, and how to read their values


class Complemented(Hyperparameter):
    """A hyperparameter x near 1, and a variable for `1 - x`: float32 would lose half the digits of 1 − 0.999."""

    def __init__(self, value: float, name: str) -> None:
        super().__init__(value, name)
        self.complement = Hyperparameter(1.0 - value, f"one_minus_{name}")

    def __rsub__(self, other: Any) -> Any:
        return self.complement.value if other == 1 else super().__rsub__(other)

    def __sub__(self, other: Any) -> Any:
        return -self.complement.value if other == 1 else super().__sub__(other)


def build_traced_optimizer(recipe: Recipe, model: keras.Model) -> tuple[Any, Hyperparameters]:
    """Return a built optimizer with weight decay, and its hyperparameters: variables, and how to read their values."""
    settings = recipe.optimizer
    # Keras creates velocity slots only if the momentum is above 0.
    nesterov = settings.nesterov and settings.kind == "muon"
    with_velocity = replace(settings, kind=settings.family, one_minus_momentum=0.5, nesterov=nesterov)
    optimizer = build_recipe_optimizer(replace(recipe, optimizer=with_velocity), model, always_decays=True)
    optimizer = with_neutral_update(optimizer)
    optimizer.build(model.trainable_variables)
    hyperparameters: Hyperparameters = {}
    _trace(optimizer, settings, _readers(recipe), hyperparameters)
    if settings.gradient_clip_kind == "value":
        replace_clipping(optimizer, _clip_values)
    return optimizer, hyperparameters


def build_shared_optimizer(
    settings: OptimizerSettings, vector: keras.Variable, slots: Sequence[keras.Variable], known: Hyperparameters
) -> Any:
    """Return an optimizer of one vector without weight decay and clipping, built with slots that exist already.

    Its hyperparameters are taken from those known, or added to them, by attribute: optimizers share them.
    """
    optimizer = with_neutral_update(build_optimizer(replace(settings, one_minus_momentum=0.5)))
    with_existing_slots(optimizer, slots)
    optimizer.build([vector])
    reads = row_of(_FAMILY_READS, settings.family, _TABLE)
    _trace(optimizer, settings, {name: _of_settings(read) for name, read in reads.items()}, known)
    return optimizer


def _trace(optimizer: Any, settings: OptimizerSettings, readers: Mapping[str, Read], known: Hyperparameters) -> None:
    """Replace the attributes of a built optimizer by variables: those known, or new ones, which are added to them."""
    for attribute, read in readers.items():
        if attribute not in known:
            is_near_one = attribute in _NEAR_ONE or (settings.kind, attribute) == ("muon", "momentum")
            variable = (Complemented if is_near_one else Hyperparameter)(0.5, attribute)
            known[attribute] = (variable, read)
            if isinstance(variable, Complemented):
                known[f"one_minus_{attribute}"] = (variable.complement, _complement_of(read))
        set_untracked(optimizer, attribute, known[attribute][0])
    if isinstance(optimizer, keras.optimizers.SGD):
        set_untracked(optimizer, "update_step", MethodType(_sgd_step, optimizer))


def initial_slots(optimizer: Any, settings: OptimizerSettings) -> list[Any]:
    """Return the optimizer's variables before its first update, in its order, as NumPy arrays."""
    values = [ops.convert_to_numpy(variable) for variable in optimizer.variables]
    slots, initial = _initial_values(optimizer, settings)
    initialized = {id(slot) for slot in slots}
    for index, variable in enumerate(optimizer.variables):
        if id(variable) in initialized:
            values[index] = values[index] * 0 + values[index].dtype.type(initial)
    return values


def _initial_values(optimizer: Any, settings: OptimizerSettings) -> tuple[list[Any], float]:
    """Return the slots whose initial value is a setting, and that value."""
    if settings.kind == "adagrad":
        return adagrad_sums(optimizer), settings.initial_accumulator
    if settings.kind == "prodigy":
        return [optimizer.estimate], settings.initial_distance
    return [], 0.0


def _readers(recipe: Recipe) -> dict[str, Read]:
    """Return, by attribute of the Keras optimizer that becomes a variable, how to read its value from a recipe."""
    settings, rate = recipe.optimizer, recipe.learning_rate
    readers = dict(row_of(_FAMILY_READS, settings.family, _TABLE))
    if clip := GRADIENT_CLIPS[settings.gradient_clip_kind]:
        readers[clip] = lambda given: given.gradient_clip_limit
    if settings.weight_average_kind != "none":
        readers["average_forgets"] = lambda given: given.weight_average_one_minus_decay
    if rate.cycles_momentum:  # supplied with each update
        readers.pop("momentum" if settings.kind == "sgd" else "beta_1", None)
    return {name: _of_settings(read) for name, read in readers.items()} | (
        _HYPERGRADIENT_READS if rate.hypergradient_strength else {}
    )


def _of_settings(read: ReadSettings) -> Read:
    return lambda recipe: read(recipe.optimizer)


def _beta(name: str) -> ReadSettings:
    return lambda settings: settings.betas[name]


def _rho(settings: OptimizerSettings) -> float:
    return 1.0 - settings.one_minus_rho


def _epsilon(settings: OptimizerSettings) -> float:
    return settings.epsilon


def _momentum(settings: OptimizerSettings) -> float:
    return settings.momentum


_TABLE = "_FAMILY_READS in models/engines/compiled/traced_optimizers.py"
_NEAR_ONE = ("beta_1", "beta_2", "rho", "adam_beta_1", "adam_beta_2")

_BETAS = {"beta_1": _beta("beta_1"), "beta_2": _beta("beta_2")}

_FAMILY_READS: dict[str, dict[str, ReadSettings]] = {
    "sgd": {"momentum": _momentum, "nesterov_part": lambda settings: 1.0 if settings.nesterov else 0.0},
    "adam": {**_BETAS, "epsilon": _epsilon},
    "nadam": {**_BETAS, "epsilon": _epsilon},
    "adamax": {**_BETAS, "epsilon": _epsilon},
    "lamb": {**_BETAS, "epsilon": _epsilon},
    "lion": _BETAS,
    "rmsprop": {"rho": _rho, "momentum": _momentum, "epsilon": _epsilon},
    "adadelta": {"rho": _rho, "epsilon": _epsilon},
    "adagrad": {"epsilon": _epsilon},
    "adafactor": {},
    "muon": {
        "momentum": _momentum,
        "adam_beta_1": _beta("beta_1"),
        "adam_beta_2": _beta("beta_2"),
        "epsilon": _epsilon,
    },
    "prodigy": {**_BETAS, "epsilon": _epsilon, "distance": lambda settings: settings.initial_distance},
    "dog": {"distance": lambda settings: settings.initial_distance},
    "schedule_free": {**_BETAS, "epsilon": _epsilon},
}

_HYPERGRADIENT_READS: dict[str, Read] = {
    "hypergradient_strength": lambda recipe: recipe.learning_rate.hypergradient_strength,
    "hypergradient_minimum": lambda recipe: recipe.learning_rate.hypergradient_minimum,
    "hypergradient_maximum": lambda recipe: recipe.learning_rate.hypergradient_maximum,
}


def _complement_of(read: Read) -> Read:
    return lambda recipe: 1.0 - read(recipe)  # in float64, as Keras computes with Python floats


def _sgd_step(self: Any, gradient: Any, variable: Any, learning_rate: Any) -> None:
    """Apply v ← μv − ηg, then θ ← θ + v, or with Nesterov θ ← θ + μv − ηg.

    Both are θ ← θ + (nμ + 1 − n)v − nηg with n = 0 or 1. With μ = 0 they are bit-equal to θ ← θ − ηg, so that one
    graph serves all of them.
    """
    nesterov = self.nesterov_part
    velocity = sgd_velocity(self, index_of(self, variable))
    step = ops.multiply(gradient, ops.cast(learning_rate, variable.dtype))
    moved = ops.subtract(ops.multiply(velocity, self.momentum), step)
    self.assign(velocity, moved)
    along = ops.multiply(moved, nesterov * self.momentum + (1.0 - nesterov))
    self.assign_add(variable, ops.subtract(along, ops.multiply(step, nesterov)))


def _clip_values(self: Any, gradients: list[Any]) -> list[Any]:
    """Clip as Keras does, but convert the limit to a tensor first: on JAX `-variable` is not one."""
    limit = ops.convert_to_tensor(self.clipvalue)
    return [ops.clip(gradient, -limit, limit) for gradient in gradients]
