"""Refuse a function that makes no new model at each call: trials would inherit weights, or differ in structure.

All trials of the same parameters share one structure: programs, checkpoints and versions are those of any build.
"""

import json
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from nightune.models.errors import InputError
from nightune.models.library_internals.models import all_layers, random_states, variables_kept
from nightune.models.networks.own_code import has_own_code
from nightune.models.serving.input_trees import ArrayTree, for_model
from nightune.vocabulary import ARCHITECTURE

SEED = 12  # of the second build, other than that of the first one

_trained: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()  # weights of earlier models, by id


@dataclass(frozen=True, eq=False)
class Build:
    """What is kept of a model, while the model itself may be deleted: its variables, and its structure."""

    variables: weakref.WeakValueDictionary[int, Any]  # by id
    structure: Any

    @classmethod
    def of(cls, model: keras.Model) -> "Build":
        """Note what another build of the same parameters must not share, and must have in common."""
        return cls(_by_id(model.variables), _structure(model))


def refuse_repeated_layers(
    first: Build, build: Callable[[int], keras.Model], inputs: ArrayTree, set_phase: Callable[[keras.Model], None]
) -> None:
    """Build a model again; InputError if both share weights that training changes, or differ in structure.

    Layers of earlier calls are left alone if training does not change them, such as a backbone that is loaded once, or
    a `Normalization` that is adapted once. `inputs` are those of a few examples. `build` gets a seed, and `set_phase`
    lets a model train all that any phase of a training does.
    """
    keras.backend.clear_session(free_memory=False)  # layers are numbered from the start
    second = build(SEED)
    structure = _structure(second)
    set_phase(second)
    shared = [variable for variable in second.variables if first.variables.get(id(variable)) is variable]
    _refuse_kept(_changed_by_training(second, shared, inputs))
    difference = _difference(first.structure, structure)
    if difference:
        problem = f"the function returns another model when it is called again: {difference}"
        remedy = "let it depend on its arguments alone, and draw constants from np.random.default_rng(0)"
        raise InputError(ARCHITECTURE, f"{problem}; {remedy}")


def other_weights(first: Build, model: keras.Model) -> str:
    """Return the first difference of the shapes of a model's weights from those of the first one; empty without one."""
    return _difference(first.structure["weights"], _structure(model)["weights"], "a weight's shape has")


def refuse_inherited_weights(model: keras.Model) -> None:
    """Raise InputError if a new model has a weight, trained or not, that training changed in an earlier one.

    Before the first trial not every set of parameters is built twice.
    """
    _refuse_kept([variable for variable in model.variables if _trained.get(id(variable)) is variable])
    _trained.update(_by_id(model.trainable_variables))


def _by_id(variables: Sequence[Any]) -> weakref.WeakValueDictionary[int, Any]:
    return weakref.WeakValueDictionary({id(variable): variable for variable in variables})


def _refuse_kept(variables: Sequence[Any]) -> None:
    kept = [variable.path for variable in variables]
    if kept:
        more = f" and {len(kept) - 2} more" if len(kept) > 2 else ""
        problem = f"the function returns weights of an earlier call ({', '.join(kept[:2])}{more})"
        remedy = "make its layers inside the function, without a cache, or set trainable = False for loaded ones"
        raise InputError(ARCHITECTURE, f"{problem}, so that a trial would begin where another one ended; {remedy}")


def refuse_weights_by_rows(build: Callable[[Any], keras.Model], parts: Sequence[Any]) -> None:
    """Build models by the training inputs of all rows and of folds; InputError if shapes of weights differ."""
    shapes = [[list(variable.shape) for variable in build(each).weights] for each in parts]
    for number, each in enumerate(shapes[1:], start=1):
        difference = _difference(shapes[0], each, "a weight's shape has")
        if difference:
            problem = f"the function makes another model of the training inputs of fold {number}: {difference}"
            remedy = "let sizes depend on parameters of [model], and only values on training_inputs"
            raise InputError(ARCHITECTURE, f"{problem}; {remedy}, or leave out folds")


def _changed_by_training(model: keras.Model, shared: Sequence[Any], inputs: ArrayTree) -> list[Any]:
    """Return those of the variables that are trained, or that a call for training changes, without random states."""
    states = {id(variable) for variable in random_states(model)}
    trained = {id(variable) for variable in model.trainable_variables}
    others = [each for each in shared if id(each) not in states | trained]
    if others:
        with variables_kept(model) as before:
            model(for_model(model, inputs), training=True)
            trained |= {id(each) for each, value in before if not np.array_equal(np.array(each), value, equal_nan=True)}
    return [each for each in shared if id(each) in trained - states]


def _structure(model: keras.Model) -> Any:
    """What two builds must have in common: the shapes of weights, and of Keras' own layers their configuration."""
    shapes = [list(variable.shape) for variable in model.weights]
    if has_own_code(model):
        return {"weights": shapes}
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(model), default=_name_of_type))
    names = {layer.name: f"layer {number}" for number, layer in enumerate(all_layers(model))}
    return {"weights": shapes, "layers": _plain(config, names)}


def _name_of_type(value: Any) -> str:
    return type(value).__qualname__


def _plain(config: Any, names: Mapping[str, str]) -> Any:
    """Leave out seeds and what initializers draw, which follow the trial, and number the layers."""
    if isinstance(config, dict):
        kept = {name: value for name, value in config.items() if name != "seed" and not name.endswith("initializer")}
        return {name: _plain(value, names) for name, value in kept.items()}
    if isinstance(config, list):
        return [_plain(each, names) for each in config]
    return names.get(config, config) if isinstance(config, str) else config


def _difference(one: Any, other: Any, name: str = "") -> str:
    """Return the first difference, empty if there is none."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return next(filter(None, (_difference(one[key], other[key], key) for key in one)), "")
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return next(filter(None, (_difference(*pair, name) for pair in zip(one, other, strict=True))), "")
    return "" if one == other else f"{name} {str(other)[:60]} instead of {str(one)[:60]}"
