"""Build the model of a recipe for a data set, as every engine trains it."""

from pathlib import Path

import keras

from nightune.models.data.dataset import Dataset
from nightune.models.engines.keras_parts.mixed_precision import computing_in
from nightune.models.networks.architectures import build_model
from nightune.models.networks.frozen_layers import set_phase
from nightune.models.networks.head_settings import output_size, quantity_loss
from nightune.models.networks.repeated_builds import refuse_inherited_weights
from nightune.models.recipe.recipe import Recipe


def build_recipe_model(recipe: Recipe, dataset: Dataset, folder: Path, seed: int) -> keras.Model:
    """Return a new model in the recipe's precision and phase, with initial weights by the seed.

    `folder` is the study's. The numbers in names of layers start anew: a trial writes the same file after any other
    trials. InputError as in `build_model` and `set_phase`, and for trained weights of an earlier model.
    """
    keras.backend.clear_session(free_memory=False)
    size = output_size(recipe.training, dataset.task, dataset.output_size)
    with computing_in(recipe.precision):
        model: keras.Model = build_model(
            recipe.architecture,
            recipe.model,
            dataset.input_shape,
            size,
            folder=folder,
            seed=seed,
            training_inputs=dataset.train.inputs,
            vocabulary_sizes=dataset.vocabulary_sizes,
            quantity_loss=quantity_loss(recipe.training, dataset.task, dataset.output_size),
        )
    set_phase(model, recipe.training, is_fine_tuning=recipe.is_fine_tuning)
    refuse_inherited_weights(model)
    return model
