"""The graph key: what changes a program, and so cannot be data."""

from dataclasses import replace
from pathlib import Path

from nightune.models.engines.compiled.traced_optimizers import optimizer_structure
from nightune.models.recipe.recipe import Recipe
from nightune.models.training.model_key import has_dropout_as_data, model_key


def graph_key(recipe: Recipe, folder: Path) -> str:
    """What changes the computation's graph; trials of one key share one program. The data is the engine's.

    All other numbers are data: rates, decay, penalties, momentum and Nesterov, β, ρ, ε, limits of clipping, what an
    average forgets, how fast a rate follows its gradient, the dropout rate of our own architectures where something is
    dropped, how much labels are smoothed where they are, batch sizes.
    """
    update = f"{optimizer_structure(recipe)}{recipe.decay_structure}"
    return f"{model_key(recipe, folder)} · {update}{recipe.loss_structure}"


def disturbed(recipe: Recipe) -> Recipe:
    """Return a recipe of the same graph key with other numbers, which a program must not have baked in."""
    optimizer = recipe.optimizer
    numbers = {name: 0.7 * getattr(optimizer, name) for name in _NUMBERS}
    model = {**recipe.model, "dropout": 0.7 * recipe.model["dropout"]} if has_dropout_as_data(recipe) else recipe.model
    penalty, rate = recipe.penalty, recipe.learning_rate
    rates = {name: 0.7 * getattr(rate, name) for name in ("peak", "hypergradient_strength", "hypergradient_maximum")}
    return replace(
        recipe,
        optimizer=replace(optimizer, **numbers),
        learning_rate=replace(rate, **rates),
        weight_decay=replace(recipe.weight_decay, strength=0.7 * recipe.weight_decay.strength),
        penalty=replace(penalty, strength=0.7 * penalty.strength, label_smoothing=0.7 * penalty.label_smoothing),
        model=model,
    )


_NUMBERS = (
    "one_minus_momentum",
    "one_minus_beta_1",
    "one_minus_beta_2",
    "one_minus_rho",
    "epsilon",
    "initial_accumulator",
    "initial_distance",
    "gradient_clip_limit",
    "weight_average_one_minus_decay",
)
