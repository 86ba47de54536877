"""Why no compiled engine can train a model on some data: what only `fit` can express, and what no device can hold."""

import keras
import numpy as np

from nightune.models.data.dataset import Dataset
from nightune.models.data.placement import gibibytes
from nightune.models.engines.memory import refusal_of_data
from nightune.models.recipe.recipe import Recipe
from nightune.models.training.capabilities import only_in_fit


def refusals_of(model: keras.Model, recipe: Recipe, dataset: Dataset) -> list[str]:
    """Say why no compiled engine can train a model: data that it cannot hold, or a training step of the user's."""
    parts = (dataset.train.inputs, dataset.validation.inputs)
    held = sum(part.nbytes for part in parts)
    if any(isinstance(part, np.memmap) for part in parts):
        refusal: str | None = f"the data, {gibibytes(held)}, stays on disk"
    else:
        refusal = refusal_of_data(held)
    return [*only_in_fit(recipe), *([refusal] if refusal else [])] + [
        f"{recipe.architecture} has a {method} of its own"
        for method in ("train_step", "compute_loss")
        if getattr(type(model), method) is not getattr(keras.Model, method)
    ]
