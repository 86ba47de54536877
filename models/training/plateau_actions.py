"""The effects of plateaus: one detector serves all techniques, and the effects are functions of the number of plateaus.

A resumed training therefore needs only that number, and two techniques always agree on what a plateau is.
"""

from dataclasses import replace

from nightune.models.recipe.recipe import Recipe
from nightune.models.techniques.batch_sizes import policies as batch_sizes
from nightune.models.techniques.batch_sizes.policies import Batches, Moment
from nightune.models.techniques.learning_rates import learning_rates
from nightune.models.techniques.plateaus import PlateauRule
from nightune.models.techniques.stopping import stopping


def plateau_rule(recipe: Recipe) -> PlateauRule | None:
    """Return the detector's rule if a technique reacts to plateaus; a recipe has at most one such (rule C3)."""
    if recipe.learning_rate.schedule == "plateau":
        return learning_rates.plateau_rule(recipe.learning_rate)
    if recipe.batch_size.policy == "plateau_grow":
        return batch_sizes.plateau_rule(recipe.batch_size)
    return stopping.plateau_rule(recipe.stopping) if recipe.stopping.rule == "combined" else None


def rate_multiplier(recipe: Recipe, plateaus: int) -> float:
    """Return the factor of the learning rate after some plateaus, apart from that of growing batches."""
    if recipe.learning_rate.schedule == "plateau":
        return learning_rates.plateau_multiplier(recipe.learning_rate, plateaus)
    if recipe.stopping.rule == "combined":
        return float(recipe.stopping.rate_factor ** stopping.actions(recipe.stopping, plateaus).rates)
    return 1.0


def batches(recipe: Recipe, moment: Moment) -> Batches:
    """Return the batches of one epoch: those of the policy, or those that the stopping rule has enlarged."""
    if recipe.optimizer.is_full_batch:
        return batch_sizes.whole(moment.examples)
    if recipe.stopping.grows_batches:
        settings = replace(
            recipe.batch_size, factor=recipe.stopping.batch_factor, maximum=recipe.stopping.batch_maximum
        )
        times = stopping.actions(recipe.stopping, moment.plateaus).batches
        return batch_sizes.after_growths(settings, moment, times)
    return batch_sizes.batch_sizes(recipe.batch_size, moment)
