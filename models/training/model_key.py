"""The model key: what changes a model, but for its weights and the numbers that are data."""

import json

from nightune.models.networks.architectures import ARCHITECTURES
from nightune.models.recipe.recipe import Recipe


def model_key(recipe: Recipe, code: str) -> str:
    """Return the key of a recipe's model; `code` is the `source_digest` of its architecture.

    A dropout rate that is data is not in it. Nor is Keras' global policy, which may hold where none is given: it is the
    process's, and whoever keeps models by this key keeps them by that policy as well.
    """
    model = dict(recipe.model)
    if has_dropout_as_data(recipe):
        model["dropout"] = "data"
    named = f"{recipe.architecture} {code}".strip()
    return f"{named} {json.dumps(model, sort_keys=True, default=str)} · {recipe.precision.policy}"


def has_dropout_as_data(recipe: Recipe) -> bool:
    """True for our own architectures where something is dropped: `dropout` is the rate of all their Dropout layers.

    Not in mixed precision, where Keras rounds what follows from a rate in other places than a program would.
    """
    is_ours = recipe.architecture in ARCHITECTURES and not recipe.precision.is_mixed
    return is_ours and recipe.model.get("dropout", 0.0) != 0.0
