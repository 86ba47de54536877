"""The model key: everything that changes a model except its weights and the numbers that are data."""

import json
from collections.abc import Mapping
from pathlib import Path

from nightune.models.networks.architectures import ARCHITECTURES
from nightune.models.recipe.recipe import Recipe
from nightune.models.user_code import source_digest


def model_key(recipe: Recipe, code: str) -> str:
    """Return the key of a recipe's model; `code` is the `source_digest` of its architecture.

    The key excludes a dropout rate that is data, and Keras' global policy, which belongs to the process: whoever keeps
    models by this key keeps them by that policy as well.
    """
    model = dict(recipe.model)
    if has_dropout_as_data(recipe):
        model["dropout"] = "data"
    named = f"{recipe.architecture} {code}".strip()
    levels = recipe.training.quantiles
    counts = {name: len(each) for name, each in levels.items()} if isinstance(levels, Mapping) else len(levels or ())
    outputs = f" · {counts} quantiles" if levels else ""
    frozen = f" · {list(recipe.training.frozen)} {'fine-tuned' if recipe.is_fine_tuning else 'frozen'}"
    outputs += frozen if recipe.training.frozen else ""
    return f"{named} {json.dumps(model, sort_keys=True, default=str)} · {recipe.precision.policy}{outputs}"


def code_of(recipe: Recipe, folder: Path) -> str:
    """Return the digest of the user's code in a recipe: its architecture's and its loss's; `folder` is the study's."""
    return code_digest(recipe.architecture, recipe.training.losses, folder)


def code_digest(architecture: str, losses: tuple[str, ...], folder: Path) -> str:
    """Return the digest of an architecture's code and of the losses'; empty for names of Nightune's own."""
    return f"{source_digest(architecture, folder)} {losses_digest(losses, folder)}".strip()


def losses_digest(losses: tuple[str, ...], folder: Path) -> str:
    """Return the digests of the code of losses; empty for names of Nightune's own."""
    return " ".join(filter(None, (source_digest(loss, folder, "training.loss") for loss in losses)))


def has_dropout_as_data(recipe: Recipe) -> bool:
    """True for built-in architectures with dropout: `dropout` is the rate of all their Dropout layers.

    False in mixed precision, where Keras rounds values computed from the rate differently than a program would.
    """
    is_ours = recipe.architecture in ARCHITECTURES and not recipe.precision.is_mixed
    return is_ours and recipe.model.get("dropout", 0.0) != 0.0
