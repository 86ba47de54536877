"""Find models of users' functions that differ in the rates of their Dropout layers alone, which share a program."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import losses

from nightune.models.engines.keras_parts.model_traits import dropout_layers
from nightune.models.library_internals.models import compiled_loss
from nightune.models.networks.compiled_losses import keras_name
from nightune.models.networks.own_code import has_own_code
from nightune.models.networks.packed_models import plain_model
from nightune.models.recipe.recipe import Recipe
from nightune.models.training.model_key import code_of, model_key
from nightune.models.user_code import is_reference

_SEED = 31  # of the models that are compared
_KINDS = ("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D")


class AlikeModels:
    """Knows, for each recipe of a user's function, the first one whose model differs in dropout rates alone.

    `build` makes a recipe's model with a seed; `folder` is the study's. Only models of Keras' own layers are compared,
    by their structure and their initial weights. In mixed precision rates stay constants, as for built-in models.
    """

    def __init__(self, build: Callable[[Recipe, int], keras.Model], folder: Path) -> None:
        self._build, self._folder = build, folder
        self._first: dict[str, dict[str, Any]] = {}  # parameters of the first recipe, by form
        self._known: dict[str, tuple[dict[str, Any], tuple[float, ...]]] = {}  # the same and the rates, by model key
        self._rates: dict[str, tuple[float, ...]] = {}  # by model key without the code, which is not read every epoch

    def leader(self, recipe: Recipe) -> Recipe:
        """Return the recipe with the parameters of the first model that is alike; itself if there is none."""
        if not is_reference(recipe.architecture) or recipe.precision.is_mixed:
            return recipe
        code = code_of(recipe, self._folder)
        key = f"{keras.config.dtype_policy().name} {model_key(recipe, code)}"
        if key not in self._known:
            self._known[key] = self._compared(recipe, f"{recipe.architecture} {code}")
        parameters, self._rates[model_key(recipe, "")] = self._known[key]
        return replace(recipe, model=parameters)

    def rates(self, recipe: Recipe) -> tuple[float, ...]:
        """Return the rates above 0 of a recipe's model, in the order of its layers; empty if they are constants.

        `leader` must have seen the recipe.
        """
        return self._rates.get(model_key(recipe, ""), ())

    def _compared(self, recipe: Recipe, function: str) -> tuple[dict[str, Any], tuple[float, ...]]:
        """Build a recipe's model; return the parameters of the first one that is alike, and the rates that are data."""
        model, parameters = self._build(recipe, _SEED), dict(recipe.model)
        rates = _rates(model)
        form = _form(model) if rates and max(rates) < 1.0 else None
        if form is None:
            return parameters, ()
        return self._first.setdefault(f"{function} {keras.config.dtype_policy().name} {form}", parameters), rates


def _rates(model: keras.Model) -> tuple[float, ...]:
    return tuple(float(layer.rate) for layer in dropout_layers(model) if layer.rate > 0.0)


def _form(model: keras.Model) -> str | None:
    """Return a digest of everything of a model but the rates above 0; None if not all of it is Keras' own."""
    given, weights = compiled_loss(plain_model(model))
    is_known = given is None or isinstance(given, str) or bool(keras_name(given))
    if has_own_code(model) or not is_known or weights is not None:
        return None
    loss = given.get_config() if isinstance(given, losses.Loss) else given
    kinds = [_kind(variable) for variable in model.weights]
    structure = [_without_rates(keras.saving.serialize_keras_object(model)), _without_rates(loss), kinds]
    digest = hashlib.sha256(json.dumps(structure, sort_keys=True, default=repr).encode())
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()


def _kind(variable: keras.Variable) -> list[Any]:
    """What of a variable no configuration holds: functions may set regularizers and constraints after the build."""
    rules = [keras.saving.serialize_keras_object(each) for each in (variable.regularizer, variable.constraint)]
    return [list(variable.shape), bool(variable.trainable), rules]


def _without_rates(config: Any) -> Any:
    if isinstance(config, list | tuple):
        return [_without_rates(each) for each in config]
    if not isinstance(config, dict):
        return config
    values = {name: _without_rates(value) for name, value in config.items()}
    if config.get("class_name") in _KINDS and values.get("config", {}).get("rate", 0.0) > 0.0:
        values["config"] = {**values["config"], "rate": "data"}
    return values
