"""What of a recipe only `fit` can train: the compiled engines refuse it with these reasons, and never approximate."""

from collections.abc import Callable

from models.recipe import Recipe

# The reason to tell → whether a recipe asks for it. An engine that learns a technique takes its line away.
ONLY_IN_FIT: dict[str, Callable[[Recipe], bool]] = {
    "batch_size.policy or learning_rate.batch_scaling follows the gradients, which only fit measures": (
        lambda recipe: recipe.measures_gradients
    ),
    "batch_size.micro_size: only fit accumulates to it": lambda recipe: recipe.batch_size.micro_size > 0,
}


def only_in_fit(recipe: Recipe) -> list[str]:
    """Say what of a recipe no compiled engine can express; empty where all is well."""
    return [reason for reason, asks in ONLY_IN_FIT.items() if asks(recipe)]
