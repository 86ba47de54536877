"""The state of a training from the epoch on at which values change."""

from typing import Any

from nightune.models.errors import InputError
from nightune.models.recipe.recipe import Recipe
from nightune.models.training.engine import Engine
from nightune.models.training.seeds import Seeds
from nightune.models.training.snapshots import SnapshotError
from nightune.phases import COMPILING, phase
from nightune.vocabulary import CHANGES


def changed_state(engine: Engine, state: Any, recipe: Recipe, seeds: Seeds, epoch: int) -> Any:
    """Return the state in a training of a recipe with other values: weights, slots and random streams continue.

    InputError if the changed recipe builds other weights, as a function of the user may.
    """
    with phase(COMPILING):
        try:
            return engine.restore(engine.start(recipe, seeds), engine.snapshot(state))
        except SnapshotError as error:
            said = f"{recipe.architecture} builds other weights for the changed values"
            raise InputError(f"{CHANGES}.{epoch}", f"{said}, which cannot change within a training") from error
