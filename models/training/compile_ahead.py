"""Compile the programs of later trials beside what runs now."""

from dataclasses import replace
from typing import Any

from nightune.models.data.dataset import Dataset
from nightune.models.recipe.recipe import Recipe
from nightune.models.techniques.stopping.settings import StoppingSettings
from nightune.models.training.controller import Controller
from nightune.models.training.plan import EpochPlan


def compile_ahead(engine: Any, recipe: Recipe, dataset: Dataset, epochs: int) -> None:
    """Trace the recipe's program now, and compile it beside what follows, if the engine does that.

    `epochs` are those of its training. Nothing of the training changes; errors are left to it.
    """
    if not hasattr(engine, "compile_ahead") or dataset.folds:  # not by a protocol: an engine may wrap another one
        return
    plan = first_plan(recipe, dataset, epochs)
    if plan is not None:
        engine.compile_ahead(recipe, plan)


def first_plan(recipe: Recipe, dataset: Dataset, epochs: int) -> EpochPlan | None:
    """Return the plan of an epoch whose function can be compiled before the training; None without one.

    Programs of a second phase are not compiled ahead, and that of the first never runs if the second begins at once.
    """
    recipe = replace(recipe, stopping=StoppingSettings("none"))
    try:
        controller = Controller(
            recipe, len(dataset.train), epochs, 0, "val_loss", "minimize", dataset.task, outputs=dataset.output_count
        )
        plan = controller.next_epoch()
    except ValueError:  # InputError is one
        return None
    return None if plan is None or plan.begins_fine_tuning else plan
