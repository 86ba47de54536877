"""The heads of recipes on one data set: settled once for each model, so that all its trials read outputs alike."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import keras

from nightune.models.data.dataset import Dataset
from nightune.models.errors import InputError
from nightune.models.networks.heads import Head
from nightune.models.networks.joint_heads import JOINT, read_head
from nightune.models.networks.packed_models import plain_model
from nightune.models.networks.training_rows import TrainingRows
from nightune.models.networks.weighted_models import refuse_ignored_weights
from nightune.models.recipe.recipe import Recipe
from nightune.models.recipe.rules import divided_loss
from nightune.models.techniques.losses import SIGNED_LOSSES
from nightune.models.training.model_key import code_of, model_key

SIGNED = (*SIGNED_LOSSES, "kl_divergence")  # of the names of compiled losses, too
Build = Callable[[Recipe, int], keras.Model]  # from a recipe and a seed


class SettledHeads:
    """Settles heads with training rows. `folder` is the study's, and `build` makes a model where none is given."""

    def __init__(self, dataset: Dataset, folder: Path, build: Build) -> None:
        self._dataset, self._folder, self._build = dataset, folder, build
        self._heads: dict[tuple[str, str, str], Head] = {}
        self._weighable: set[tuple[str, str, str]] = set()  # heads whose models use weights of rows

    @cached_property
    def rows(self) -> TrainingRows:
        """A few training rows."""
        return TrainingRows.of(self._dataset)

    def read(self, recipe: Recipe, model: keras.Model | None = None) -> Head:
        """Return the head of a recipe's model; a given one stays as it is.

        InputError if no loss fits, or if a technique of the recipe does not suit the loss.
        """
        key = (
            keras.config.dtype_policy().name,
            model_key(recipe.as_built, code_of(recipe, self._folder)),
            str(recipe.training.of_head),
        )
        if key not in self._heads:
            built = self._build(recipe, 0) if model is None else model
            self._heads[key] = read_head(built, self.rows, recipe.training, self._folder)
        head = self._heads[key]
        problem = contradiction(recipe, head)
        if problem is not None:
            raise problem
        if (self.rows.are_weighted or recipe.training.has_class_weights) and key not in self._weighable:
            refuse_ignored_weights(plain_model(self._build(recipe, 0)), head, self.rows, self._folder)
            self._weighable.add(key)
        return head


def contradiction(recipe: Recipe, head: Head) -> InputError | None:
    """Return why a recipe's techniques do not suit the settled loss: C15 and C16 for a compiled one."""
    if recipe.penalty.label_smoothing and head.problem_of_smoothing:
        return head.problem_of_smoothing
    if head.kind == JOINT and recipe.penalty.kind != "none" and recipe.penalty.convention != "keras":
        problem = f"{recipe.penalty.convention!r} converts the strength by one loss, and the model has several heads"
        return InputError("penalty.convention", f'{problem}; use "keras"')
    signed = next((name for name in head.loss_names if name in SIGNED), None)
    found = divided_loss(recipe, signed) if signed else None
    key, _, message = (found or "").partition(": ")
    return InputError(key, message) if found else None
