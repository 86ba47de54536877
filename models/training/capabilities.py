"""Techniques that only `fit` supports: the compiled engines refuse them with a reason instead of approximating."""

from collections.abc import Callable

from nightune.models.recipe.recipe import Recipe

# Reason → whether a recipe uses the technique. Remove the line when the compiled engines support it.
ONLY_IN_FIT: dict[str, Callable[[Recipe], bool]] = {
    "batch_size.policy or learning_rate.batch_scaling follows the gradients, which only fit measures": (
        lambda recipe: recipe.measures_gradients
    ),
    "penalty.adaptation: only fit measures for it": lambda recipe: recipe.penalty.adaptation != "none",
    "precision mixed_float16: only fit scales the loss": lambda recipe: recipe.precision.scales_loss,
}


def only_in_fit(recipe: Recipe) -> list[str]:
    """Return the reasons why no compiled engine supports the recipe; empty if one does."""
    return [reason for reason, asks in ONLY_IN_FIT.items() if asks(recipe)]


def refuse_only_in_fit(recipe: Recipe) -> None:
    """Raise ValueError for a recipe that no compiled engine supports; the choice of the engine may not have seen it."""
    reasons = only_in_fit(recipe)
    if reasons:
        raise ValueError(f"{'; '.join(reasons)} (run the study with --engine fit)")
