"""What of a recipe only `fit` can train: the compiled engines refuse it with these reasons, and never approximate."""

from collections.abc import Callable

from models.recipe import Recipe

# The reason to tell → whether a recipe asks for it. An engine that learns a technique takes its line away.
ONLY_IN_FIT: dict[str, Callable[[Recipe], bool]] = {
    "penalty.kind l1_proximal": lambda recipe: recipe.penalty.kind == "l1_proximal",
    "penalty.label_smoothing": lambda recipe: recipe.penalty.label_smoothing != 0.0,
    "penalty.adaptation": lambda recipe: recipe.penalty.adaptation != "none",
    "learning_rate.one_cycle_momentum mirrored": lambda recipe: recipe.learning_rate.cycles_momentum,
    "weight_decay.scope all": lambda recipe: recipe.weight_decay.scope == "all",
}


def only_in_fit(recipe: Recipe) -> list[str]:
    """Say what of a recipe no compiled engine can express; empty where all is well."""
    return [reason for reason, asks in ONLY_IN_FIT.items() if asks(recipe)]
