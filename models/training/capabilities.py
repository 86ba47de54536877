"""What of a recipe only `fit` can train: the compiled engines refuse it with these reasons, and never approximate."""

from collections.abc import Callable

from nightune.models.recipe.recipe import Recipe

# The reason to tell → whether a recipe asks for it. An engine that learns a technique takes its line away.
ONLY_IN_FIT: dict[str, Callable[[Recipe], bool]] = {
    "batch_size.policy or learning_rate.batch_scaling follows the gradients, which only fit measures": (
        lambda recipe: recipe.measures_gradients
    ),
    "penalty.adaptation: only fit measures for it": lambda recipe: recipe.penalty.adaptation != "none",
    "precision mixed_float16: only fit scales the loss": lambda recipe: recipe.precision.scales_loss,
}


def only_in_fit(recipe: Recipe) -> list[str]:
    """Say what of a recipe no compiled engine can express; empty where all is well."""
    return [reason for reason, asks in ONLY_IN_FIT.items() if asks(recipe)]


def refuse_only_in_fit(recipe: Recipe) -> None:
    """ValueError for a recipe that no compiled engine can express: one that was not among those looked at before."""
    reasons = only_in_fit(recipe)
    if reasons:
        raise ValueError(f"{'; '.join(reasons)} (run the study with --engine fit)")
