"""The named rules that a recipe must keep: combinations of params that contradict each other, refused before training.

A rule says what is wrong, naming the key to change, or None. The codes are those of the techniques' specification.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nightune.models.recipe.recipe import Recipe


class RecipeError(ValueError):
    """Params that contradict each other; `rule` is the code of the rule that they break."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(f"{message} (rule {rule})")
        self.rule = rule


def refuse_contradictions(recipe: "Recipe") -> None:
    """Raise RecipeError for the first rule that the recipe breaks."""
    for rule, check in RULES.items():
        message = check(recipe)
        if message:
            raise RecipeError(rule, message)


def full_batches_do_not_grow(recipe: "Recipe") -> str | None:
    """C1: gd uses all examples for each update. Keys of the batch size beside it are refused where they are read."""
    if recipe.optimizer.is_full_batch and recipe.stopping.grows_batches:
        return (
            f"stopping.action: gd uses all examples for each update, so that {recipe.stopping.action} changes nothing"
        )
    return None


def a_found_rate_is_left_alone(recipe: "Recipe") -> str | None:
    """C2: what finds its own rate, or averages in the place of a falling one, is not scheduled beside it."""
    kind, settings = recipe.optimizer.kind, recipe.learning_rate
    follows = settings.hypergradient_strength > 0.0
    if kind not in ALLOWED_SCHEDULES and not follows:
        return None
    who, allowed = (f"{kind} with a hypergradient", ("fixed",)) if follows else (kind, ALLOWED_SCHEDULES[kind])
    if settings.schedule not in allowed:
        return f"learning_rate.schedule: {settings.schedule}, but {who} goes with {' or '.join(allowed)} only"
    lowered = _what_lowers_the_rate(recipe)
    if lowered:
        return f"{lowered} lowers the rate, which {who} sets itself"
    decays = recipe.weight_decay.profile != "none" and kind != "schedule_free"
    if decays and recipe.weight_decay.coupling == "learning_rate":
        return f"weight_decay.coupling: learning_rate, but {who} sets its rate itself; choose schedule or independent"
    return _hypergradient_problem(recipe) if follows else None


def _what_lowers_the_rate(recipe: "Recipe") -> str:
    if recipe.stopping.rule == "combined" and recipe.stopping.action != "batch":
        return f"stopping.action: {recipe.stopping.action}"
    return "batch_size.policy: adabatch" if recipe.batch_size.policy == "adabatch" else ""


def _hypergradient_problem(recipe: "Recipe") -> str | None:
    settings = recipe.learning_rate
    if settings.warmup_fraction > 0.0:
        return "learning_rate.warmup_fraction: a hypergradient starts from the peak; leave the warm-up out"
    if not settings.hypergradient_minimum <= settings.peak <= settings.hypergradient_maximum:
        low, high = settings.hypergradient_minimum, settings.hypergradient_maximum
        return f"learning_rate.peak: {settings.peak:g} is not between the hypergradient's bounds {low:g} and {high:g}"
    return None


# The schedules, each with a warm-up or not, of what finds its own rate.
ALLOWED_SCHEDULES = {"dog": ("fixed",), "schedule_free": ("fixed",), "prodigy": ("fixed", "cosine")}


def one_thing_acts_on_plateaus(recipe: "Recipe") -> str | None:
    """C3: there is one plateau detector; of two that act on it, each would spoil what the other waits for."""
    actors = [name for name, is_used in _actors(recipe).items() if is_used]
    if len(actors) > 1:
        return f"{' and '.join(actors)}: only one of them can act on plateaus"
    if recipe.stopping.grows_batches and recipe.batch_size.policy != "fixed":
        return f"stopping.action: {recipe.stopping.action} grows the batch, as batch_size.policy does; leave it fixed"
    return None


def _actors(recipe: "Recipe") -> dict[str, bool]:
    return {
        "learning_rate.schedule plateau": recipe.learning_rate.schedule == "plateau",
        "batch_size.policy plateau_grow": recipe.batch_size.policy == "plateau_grow",
        "stopping.rule combined": recipe.stopping.rule == "combined",
    }


def stopping_waits_longer_than_plateau(recipe: "Recipe") -> str | None:
    """C4: a training that stops before its plateau is reached would never lower the rate or grow the batch."""
    if recipe.stopping.rule not in ("patience", "noise_patience"):
        return None
    if recipe.learning_rate.schedule == "plateau":
        name, patience, act = "learning_rate.plateau_patience", recipe.learning_rate.plateau_patience, "rate is lowered"
    elif recipe.batch_size.policy == "plateau_grow":
        name, patience, act = "batch_size.patience", recipe.batch_size.patience, "batch grows"
    else:
        return None
    waits, needs = recipe.stopping.patience, max(1, patience)
    if waits > needs:
        return None
    return f"stopping.patience: {waits} must be above {name}, {needs}, or the training stops before the {act}"


def weights_are_not_pulled_twice(recipe: "Recipe") -> str | None:
    """C5: an L2 penalty and a weight decay both shrink the kernels; for sgd without momentum they are the same."""
    settings = recipe.penalty
    if settings.kind != "l2" or recipe.weight_decay.profile == "none" or settings.is_beside_weight_decay:
        return None
    return (
        "penalty.kind: l2 and weight_decay.profile both shrink the kernels; leave one out, "
        "or set penalty.is_beside_weight_decay"
    )


def proximal_steps_are_exact_or_declared(recipe: "Recipe") -> str | None:
    """C6: soft thresholding by ηλ is the proximal step of gradient descent; elsewhere it must be meant."""
    if recipe.penalty.kind != "l1_proximal" or recipe.penalty.threshold == "decoupled":
        return None
    if recipe.optimizer.kind in ("sgd", "gd"):
        return None
    return (
        f"penalty.threshold: the proximal step of {recipe.optimizer.kind} is not ηλ for every weight; "
        "say decoupled if that is meant, or take sgd"
    )


def adaptation_has_examples_of_its_own(recipe: "Recipe") -> str | None:
    """C13: what steers a penalty's strength is trained on, and must not be the split that ranks trials."""
    settings = recipe.penalty
    if settings.adaptation == "none":
        return None
    if settings.held_out_fraction == 0.0:
        return f"penalty.held_out_fraction: {settings.adaptation} needs examples held out of training and validation"
    if settings.adaptation == "gap_control" and settings.minimum > settings.maximum:
        return f"penalty.minimum: {settings.minimum:g} is above penalty.maximum, {settings.maximum:g}"
    if settings.adaptation == "t1t2" and settings.kind != "l2":
        return f"penalty.adaptation: t1t2 follows the gradient of an l2 penalty, not of {settings.kind}"
    return None


def schedule_fits_the_budget(recipe: "Recipe") -> str | None:
    """C10: warm-up and decay fit into the budget, and what a formula divides by is not zero."""
    settings = recipe.learning_rate
    if settings.schedule == "wsd" and settings.warmup_fraction + settings.decay_fraction > 1.0:
        return (
            f"learning_rate.warmup_fraction {settings.warmup_fraction:g} and learning_rate.decay_fraction "
            f"{settings.decay_fraction:g} are more than the whole budget"
        )
    if settings.schedule in ("exponential", "inverse_time") and settings.final_fraction == 0.0:
        return f"learning_rate.final_fraction: {settings.schedule} never gets to 0"
    if settings.schedule == "inverse_sqrt" and settings.warmup_fraction == 0.0:
        return "learning_rate.warmup_fraction: inverse_sqrt needs a warm-up above 0 to fall from"
    return None


def batch_sizes_have_an_order(recipe: "Recipe") -> str | None:
    """C11: no size is above the maximum, and none below the minimum."""
    settings = recipe.batch_size
    if recipe.stopping.grows_batches and settings.size > recipe.stopping.batch_maximum:
        return f"batch_size.size: {settings.size} is above stopping.batch_maximum, {recipe.stopping.batch_maximum}"
    if settings.policy == "fixed":
        return None
    name, smallest = ("minimum", settings.minimum) if settings.policy == "random" else ("size", settings.size)
    if smallest > settings.maximum:
        return f"batch_size.{name}: {smallest} is above batch_size.maximum, {settings.maximum}"
    if settings.is_measured and settings.size < settings.minimum:
        return f"batch_size.size: {settings.size} is below batch_size.minimum, {settings.minimum}"
    if settings.largest > settings.maximum:
        return (
            f"batch_size.ratio: {settings.ratio} times batch_size.minimum is {settings.largest}, "
            f"above batch_size.maximum, {settings.maximum}"
        )
    return None


def scaled_losses_are_not_added_up(recipe: "Recipe") -> str | None:
    """C14: with a loss scale a micro-batch may be left out, and what was added up would be another batch's gradient."""
    if not recipe.precision.scales_loss:
        return None
    if recipe.batch_size.micro_size:
        return "precision: mixed_float16 does not go with batch_size.micro_size; take mixed_bfloat16"
    if recipe.measures_gradients:
        return "precision: mixed_float16 hides the gradients' noise from what follows it; take mixed_bfloat16"
    return None


RULES: dict[str, Callable[["Recipe"], str | None]] = {
    "C1": full_batches_do_not_grow,
    "C2": a_found_rate_is_left_alone,
    "C3": one_thing_acts_on_plateaus,
    "C4": stopping_waits_longer_than_plateau,
    "C5": weights_are_not_pulled_twice,
    "C6": proximal_steps_are_exact_or_declared,
    "C10": schedule_fits_the_budget,
    "C11": batch_sizes_have_an_order,
    "C13": adaptation_has_examples_of_its_own,
    "C14": scaled_losses_are_not_added_up,
}


def adafactor_caps_its_rate(recipe: "Recipe") -> str | None:
    """C8: Keras' Adafactor takes at most 1/√t of any rate, t counted from 1."""
    if recipe.optimizer.kind != "adafactor":
        return None
    return "adafactor: no rate stays above 1/√update: a peak of 0.1 is capped from update 100 on, 0.01 from 10,000"


def muon_leaves_some_to_adam(recipe: "Recipe") -> str | None:
    """C9: which weights Muon does not move; the training names the paths of the matrices among them."""
    if recipe.optimizer.kind != "muon":
        return None
    return "muon: Adam moves biases, embeddings, the outputs' layers and all kernels that are no matrices"


# What one should know of a recipe that is trained nevertheless.
NOTES: dict[str, Callable[["Recipe"], str | None]] = {
    "C8": adafactor_caps_its_rate,
    "C9": muon_leaves_some_to_adam,
}


def notes_on(recipe: "Recipe") -> list[str]:
    """Say what one should know of a recipe, each with its rule."""
    said = {rule: note(recipe) for rule, note in NOTES.items()}
    return [f"{message} (rule {rule})" for rule, message in said.items() if message]
