"""What of a recipe only `fit` can train: the compiled engines refuse it with these reasons, and never approximate."""

from collections.abc import Callable
from functools import partial

from models.recipe import Recipe

# What they do to all variables together, or measure at other weights than they train, no program has.
_KINDS = ("adafactor", "muon", "prodigy", "dog", "schedule_free")


def _is_kind(kind: str, recipe: Recipe) -> bool:
    return recipe.optimizer.kind == kind


def _follows_hypergradient(recipe: Recipe) -> bool:
    return recipe.learning_rate.hypergradient_strength > 0.0


# The reason to tell → whether a recipe asks for it. An engine that learns a technique takes its line away.
ONLY_IN_FIT: dict[str, Callable[[Recipe], bool]] = {
    "batch_size.policy or learning_rate.batch_scaling follows the gradients, which only fit measures": (
        lambda recipe: recipe.measures_gradients
    ),
    "batch_size.micro_size: only fit accumulates to it": lambda recipe: recipe.batch_size.micro_size > 0,
    **{f"optimizer {kind}: only fit has its update": partial(_is_kind, kind) for kind in _KINDS},
    "weight_average.kind: only fit measures averages": lambda recipe: recipe.optimizer.weight_average_kind != "none",
    "learning_rate.hypergradient_strength: only fit follows it": _follows_hypergradient,
    "penalty.kind l1_proximal: only fit has its step": lambda recipe: recipe.penalty.kind == "l1_proximal",
    "penalty.adaptation: only fit measures for it": lambda recipe: recipe.penalty.adaptation != "none",
    "learning_rate.one_cycle_momentum mirrored: only fit moves it": lambda recipe: recipe.learning_rate.cycles_momentum,
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
