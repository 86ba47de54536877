"""Optimizers whose numbers are data: Keras' own rules, with variables where their floats were.

One graph serves all of a family: momentum 0 and above, Nesterov or not, any β, ρ, ε and limit of clipping.
"""

from collections.abc import Callable
from dataclasses import replace
from types import MethodType
from typing import Any

import keras
from keras import ops

# Keras has no public path from an optimizer to its backend-neutral update.
from keras.src.optimizers.base_optimizer import BaseOptimizer

from nightune.models.engines.keras_parts.traced_scalar import Hyperparameter
from nightune.models.engines.keras_parts.updates import build_recipe_optimizer
from nightune.models.recipe.recipe import Recipe
from nightune.models.techniques.optimizers.optimizers import GRADIENT_CLIPS, OptimizerSettings
from nightune.vocabulary import row_of

Read = Callable[[Recipe], float]
ReadSettings = Callable[[OptimizerSettings], float]


class Complemented(Hyperparameter):
    """A number near 1. `1 - x` is a variable of its own: float32 would lose half of the digits of 1 − 0.999."""

    def __init__(self, value: float, name: str) -> None:
        super().__init__(value, name)
        self.complement = Hyperparameter(1.0 - value, f"one_minus_{name}")

    def __rsub__(self, other: Any) -> Any:
        return self.complement.value if other == 1 else super().__rsub__(other)

    def __sub__(self, other: Any) -> Any:
        return -self.complement.value if other == 1 else super().__sub__(other)


def build_numbered_optimizer(recipe: Recipe, model: keras.Model) -> tuple[Any, dict[str, tuple[Hyperparameter, Read]]]:
    """Return a built optimizer that decays, and its numbers: the variable of each, and its value for a recipe."""
    settings = recipe.optimizer
    # Slots for velocities are made where the momentum is above 0.
    nesterov = settings.nesterov and settings.kind == "muon"
    with_velocity = replace(settings, kind=settings.family, one_minus_momentum=0.5, nesterov=nesterov)
    optimizer = build_recipe_optimizer(replace(recipe, optimizer=with_velocity), model, always_decays=True)
    optimizer = _functional(optimizer)
    optimizer.build(model.trainable_variables)
    numbers: dict[str, tuple[Hyperparameter, Read]] = {}
    for attribute, read in _reads(recipe).items():
        is_near_one = attribute in _NEAR_ONE or (settings.kind, attribute) == ("muon", "momentum")
        variable = (Complemented if is_near_one else Hyperparameter)(0.5, attribute)
        object.__setattr__(optimizer, attribute, variable)  # past Keras' tracking: it is no state of the optimizer
        numbers[attribute] = (variable, read)
        if isinstance(variable, Complemented):
            numbers[f"one_minus_{attribute}"] = (variable.complement, _complement_of(read))
    if isinstance(optimizer, keras.optimizers.SGD):
        object.__setattr__(optimizer, "update_step", MethodType(_sgd_step, optimizer))
    if settings.gradient_clip_kind == "value":
        object.__setattr__(optimizer, "_clip_gradients", MethodType(_clip_values, optimizer))
    return optimizer, numbers


def initial_slots(optimizer: Any, settings: OptimizerSettings) -> list[Any]:
    """Return what the optimizer remembers before its first update, in the order of its variables, as NumPy arrays."""
    values = [ops.convert_to_numpy(variable) for variable in optimizer.variables]
    slots, first = _first_values(optimizer, settings)
    begun = {id(slot) for slot in slots}
    for index, variable in enumerate(optimizer.variables):
        if id(variable) in begun:
            values[index] = values[index] * 0 + values[index].dtype.type(first)
    return values


def _first_values(optimizer: Any, settings: OptimizerSettings) -> tuple[list[Any], float]:
    """The slots that start from a number of the settings, and that number."""
    if settings.kind == "adagrad":
        return optimizer._accumulators, settings.initial_accumulator
    if settings.kind == "prodigy":
        return [optimizer._estimate], settings.initial_distance
    return [], 0.0


def _reads(recipe: Recipe) -> dict[str, Read]:
    """The attributes of the Keras optimizer that become data, by what they take from a recipe."""
    settings, rate = recipe.optimizer, recipe.learning_rate
    table = "_FAMILY_READS in models/engines/compiled/traced_optimizers.py"
    reads = dict(row_of(_FAMILY_READS, settings.family, table))
    if clip := GRADIENT_CLIPS[settings.gradient_clip_kind]:
        reads[clip] = lambda given: given.gradient_clip_limit
    if settings.weight_average_kind != "none":
        reads["average_forgets"] = lambda given: given.weight_average_one_minus_decay
    if rate.cycles_momentum:  # it comes with each update
        reads.pop("momentum" if settings.kind == "sgd" else "beta_1", None)
    return {name: _of_settings(read) for name, read in reads.items()} | (
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
    return lambda recipe: 1.0 - read(recipe)  # in float64, as Keras does with its floats


def _sgd_step(self: Any, gradient: Any, variable: Any, learning_rate: Any) -> None:
    """v ← μv − ηg, θ ← θ + v, or with Nesterov θ ← θ + μv − ηg: θ ← θ + (nμ + 1 − n)v − nηg with n = 0 or 1.

    With μ = 0 both are θ ← θ − ηg to the last bit, so that one graph serves all of them.
    """
    nesterov = self.nesterov_part
    velocity = self.momentums[self._get_variable_index(variable)]
    step = ops.multiply(gradient, ops.cast(learning_rate, variable.dtype))
    moved = ops.subtract(ops.multiply(velocity, self.momentum), step)
    self.assign(velocity, moved)
    along = ops.multiply(moved, nesterov * self.momentum + (1.0 - nesterov))
    self.assign_add(variable, ops.subtract(along, ops.multiply(step, nesterov)))


def _clip_values(self: Any, gradients: list[Any]) -> list[Any]:
    """As Keras does, with the limit read from its variable: `-variable` is no tensor on JAX."""
    limit = ops.convert_to_tensor(self.clipvalue)
    return [ops.clip(gradient, -limit, limit) for gradient in gradients]


def _functional(optimizer: Any) -> Any:
    """On TensorFlow, give an optimizer back the update of other backends, which a `StatelessScope` can follow.

    TensorFlow's own goes through tf.distribute and writes into variables.
    """
    if keras.backend.backend() != "tensorflow":
        return optimizer
    neutral = {name: BaseOptimizer.__dict__[name] for name in _REPLACED_ON_TENSORFLOW}
    # After the optimizer's own class and before Keras' base: Nadam has a part of its own in the update.
    base = type("Neutral", (keras.optimizers.Optimizer,), neutral)
    return type(type(optimizer).__name__, (type(optimizer), base), {}).from_config(optimizer.get_config())


_REPLACED_ON_TENSORFLOW = (
    "assign",
    "assign_add",
    "assign_sub",
    "_backend_update_step",
    "_apply_weight_decay",
    "_var_key",
    "add_variable_from_reference",
)
