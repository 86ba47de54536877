"""Reasons why no compiled engine can train a model: features that only `fit` supports, and data that is too large."""

import keras
import numpy as np

from nightune.models.data.dataset import Dataset
from nightune.models.data.placement import gibibytes
from nightune.models.engines.memory import refusal_of_data
from nightune.models.networks.own_methods import TRAINING, own_methods
from nightune.models.recipe.recipe import Recipe
from nightune.models.serving.input_trees import arrays_of
from nightune.models.training.capabilities import only_in_fit


def refusals_of(model: keras.Model, recipe: Recipe, dataset: Dataset) -> list[str]:
    """Return the reasons why no compiled engine can train a model: unsupported techniques, data, own training steps."""
    splits = [split for each in (dataset, *dataset.folds) for split in (each.train, each.validation)]
    parts = [array for split in splits for array in arrays_of(split.inputs)]
    held = sum(part.nbytes for part in parts)
    if any(isinstance(part, np.memmap) for part in parts):
        refusal: str | None = f"the data, {gibibytes(held)}, stays on disk"
    else:
        refusal = refusal_of_data(held)
    own = [f"{recipe.architecture} has a {method} of its own" for method in own_methods(model, TRAINING)]
    return [*only_in_fit(recipe), *([refusal] if refusal else []), *own]
