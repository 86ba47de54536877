"""The model key: everything that changes a model except its weights and the numbers that are data."""

import json
from pathlib import Path

import keras

from nightune.models.networks.architectures import ARCHITECTURES
from nightune.models.recipe.recipe import Recipe
from nightune.models.user_code import source_digest


def model_key(recipe: Recipe, folder: Path) -> str:
    """Return everything that changes the model except its weights and a dropout rate that is data."""
    model = dict(recipe.model)
    if has_dropout_as_data(recipe):
        model["dropout"] = "data"
    code = source_digest(recipe.architecture, folder)
    shape = json.dumps(model, sort_keys=True, default=str)
    policy = recipe.precision.policy if recipe.precision.is_mixed else keras.config.dtype_policy().name
    return f"{recipe.architecture} {code} {shape} · {policy}"


def has_dropout_as_data(recipe: Recipe) -> bool:
    """True for built-in architectures with dropout: `dropout` is the rate of all their Dropout layers.

    False in mixed precision, where Keras rounds values computed from the rate differently than a program would.
    """
    is_ours = recipe.architecture in ARCHITECTURES and not recipe.precision.is_mixed
    return is_ours and recipe.model.get("dropout", 0.0) != 0.0
