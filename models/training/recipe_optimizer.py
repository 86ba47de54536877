"""The optimizer that a recipe asks for, with all that acts in its update; each part is a function of an optimizer."""

import logging
from functools import cache
from typing import Any

import keras

from models.optimizers import build_optimizer
from models.own_optimizers.averaging import averaging, exponential_part, polynomial_part
from models.own_optimizers.hypergradient import Hypergradient, following_hypergradient
from models.recipe import Recipe
from models.training.muon_matrices import exclude_from_muon
from models.training.updates import build_decaying

logger = logging.getLogger("nightune")


def build_recipe_optimizer(recipe: Recipe, model: keras.Model, decayed: list[keras.Variable]) -> Any:
    """Return the optimizer, not yet built. With a decay it has the variable `shrink`; the engine writes its rates."""
    optimizer = build_optimizer(recipe.optimizer)
    if recipe.optimizer.kind == "muon":
        left = ", ".join(exclude_from_muon(optimizer, model)) or "none"
        _tell_once(f"muon · Adam moves what is no matrix, and of the matrices {left}")
    if recipe.learning_rate.hypergradient_strength:
        optimizer = following_hypergradient(optimizer, _hypergradient(recipe))
    if recipe.weight_decay.profile != "none":
        optimizer = build_decaying(optimizer, decayed)
    if recipe.optimizer.weight_average_kind != "none":
        optimizer = averaging(optimizer, AVERAGES[recipe.optimizer.weight_average_kind](recipe))
    return optimizer


@cache
def _tell_once(message: str) -> None:
    """Trials of one shape would all say the same."""
    logger.info(message)


AVERAGES = {
    "exponential": lambda recipe: exponential_part(recipe.optimizer.weight_average_one_minus_decay),
    "polynomial": lambda recipe: polynomial_part(),
}


def _hypergradient(recipe: Recipe) -> Hypergradient:
    settings = recipe.learning_rate
    return Hypergradient(
        settings.hypergradient_strength,
        settings.hypergradient_minimum,
        settings.hypergradient_maximum,
        is_multiplicative=recipe.optimizer.kind in ("adam", "adamw"),
    )
