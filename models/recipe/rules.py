"""Rules against combinations of params that contradict each other, refused before training.

A rule returns None or a message: the keys, the contradiction, and what to write instead. docs/rules.md explains each.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from nightune.models.recipe.change_rules import changes_are_of_numbers_that_nothing_else_sets
from nightune.models.techniques.losses import SIGNED_LOSSES
from nightune.models.techniques.optimizers.optimizers import ALLOWED_SCHEDULES
from nightune.models.techniques.stopping.rules import ERROR_RULES

if TYPE_CHECKING:
    from nightune.models.recipe.recipe import Recipe


CHANGE_ONE = "lower the first or raise the second"


class RecipeError(ValueError):
    """Params that contradict each other; `rule` is the number of the broken rule, which no message needs."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


def refuse_contradictions(recipe: "Recipe") -> None:
    """Raise RecipeError for the first rule that the recipe breaks."""
    for rule, check in RULES.items():
        message = check(recipe)
        if message:
            raise RecipeError(rule, message)


def full_batches_do_not_grow(recipe: "Recipe") -> str | None:
    """C1: gd uses all examples in each update. Keys of the batch size are refused with it when they are read."""
    if recipe.optimizer.is_full_batch and recipe.stopping.grows_batches:
        return (
            f"stopping.action: {recipe.stopping.action} grows the batch, but optimizer gd uses all examples; "
            "use the action rate, or optimizer sgd"
        )
    return None


def self_set_rates_have_no_schedule(recipe: "Recipe") -> str | None:
    """C2: an optimizer that sets its own rate, or replaces its decay by averaging, has no other schedule."""
    kind, settings = recipe.optimizer.kind, recipe.learning_rate
    follows = settings.hypergradient_strength > 0.0
    if kind not in ALLOWED_SCHEDULES and not follows:
        return None
    who, allowed = (f"{kind} with a hypergradient", ("fixed",)) if follows else (kind, ALLOWED_SCHEDULES[kind])
    if settings.schedule not in allowed:
        return f"learning_rate.schedule: {settings.schedule}, but {who} sets its rate (allowed: {', '.join(allowed)})"
    lowering = _setting_that_lowers_the_rate(recipe)
    if lowering:
        return f"{lowering} lowers the rate, but {who} sets its own rate"
    decays = recipe.weight_decay.profile != "none" and kind != "schedule_free"
    if decays and recipe.weight_decay.coupling == "learning_rate":
        return f"weight_decay.coupling: learning_rate, but {who} sets its own rate (allowed: schedule, independent)"
    return _hypergradient_problem(recipe) if follows else None


def _setting_that_lowers_the_rate(recipe: "Recipe") -> str:
    if recipe.stopping.rule == "combined" and recipe.stopping.action != "batch":
        return f"stopping.action: {recipe.stopping.action} (use batch)"
    if recipe.training.second_phase and recipe.training.fine_tuning_fraction < 1.0:
        return f"training.fine_tuning_fraction: {recipe.training.fine_tuning_fraction:g} (use 1)"
    return "batch_size.policy: adabatch (use another policy)" if recipe.batch_size.policy == "adabatch" else ""


def _hypergradient_problem(recipe: "Recipe") -> str | None:
    settings = recipe.learning_rate
    if settings.warmup_fraction > 0.0:
        return "learning_rate.warmup_fraction: a hypergradient starts from the peak, without a warm-up; use 0"
    if not settings.hypergradient_minimum <= settings.peak <= settings.hypergradient_maximum:
        low, high = settings.hypergradient_minimum, settings.hypergradient_maximum
        bounds = f"{low:g} and {high:g}, learning_rate.hypergradient_minimum and _maximum"
        return f"learning_rate.peak: {settings.peak:g} is not between the hypergradient's bounds {bounds}; change one"
    return None


def only_one_technique_reacts_to_plateaus(recipe: "Recipe") -> str | None:
    """C3: there is one plateau detector; of two techniques that react to it, each would disturb the other."""
    reacting = [name for name, is_used in _reacting(recipe).items() if is_used]
    if len(reacting) > 1:
        return f"{' and '.join(reacting)}: only one of them can react to plateaus; remove the others"
    if recipe.stopping.grows_batches and recipe.batch_size.policy != "fixed":
        return f"stopping.action: {recipe.stopping.action} and batch_size.policy both grow the batch; use policy fixed"
    return None


def _reacting(recipe: "Recipe") -> dict[str, bool]:
    return {
        "learning_rate.schedule plateau": recipe.learning_rate.schedule == "plateau",
        "batch_size.policy plateau_grow": recipe.batch_size.policy == "plateau_grow",
        "stopping.rule combined": recipe.stopping.rule == "combined",
    }


def stopping_waits_longer_than_plateau(recipe: "Recipe") -> str | None:
    """C4: a training that stops before the plateau would never lower the rate or grow the batch."""
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
    problem = f"stopping.patience: {waits} is not above {name}, {needs}: the training would stop before the {act}"
    return f"{problem}; use at least {needs + 1}"


def weights_are_not_shrunk_twice(recipe: "Recipe") -> str | None:
    """C5: an L2 penalty and weight decay both shrink the kernels; for sgd without momentum they are the same."""
    settings = recipe.penalty
    if settings.kind != "l2" or recipe.weight_decay.profile == "none" or settings.is_beside_weight_decay:
        return None
    return (
        "penalty.kind: l2 and weight_decay.profile both shrink the kernels; use none for one of them, "
        "or set penalty.is_beside_weight_decay = true"
    )


def proximal_steps_are_exact_or_declared(recipe: "Recipe") -> str | None:
    """C6: soft thresholding by ηλ is the proximal step of gradient descent only; elsewhere it must be declared."""
    if recipe.penalty.kind != "l1_proximal" or recipe.penalty.threshold == "decoupled":
        return None
    if recipe.optimizer.kind in ("sgd", "gd"):
        return None
    return (
        f"penalty.threshold: the proximal step of {recipe.optimizer.kind} is not ηλ for every weight; "
        "use decoupled if this is intended, or optimizer sgd"
    )


def adaptive_penalties_have_held_out_examples(recipe: "Recipe") -> str | None:
    """C13: examples that control a penalty's strength influence training, so they must not rank trials."""
    settings = recipe.penalty
    if settings.adaptation == "none":
        return None
    if settings.held_out_fraction == 0.0:
        return f"penalty.held_out_fraction: 0, but {settings.adaptation} needs held-out training examples; use 0.1"
    if settings.adaptation == "gap_control" and settings.minimum > settings.maximum:
        return f"penalty.minimum: {settings.minimum:g} is above penalty.maximum, {settings.maximum:g}; {CHANGE_ONE}"
    if settings.adaptation == "t1t2" and settings.kind != "l2":
        return f"penalty.adaptation: t1t2 needs penalty.kind l2, not {settings.kind}; use l2 or gap_control"
    return None


def schedule_fits_the_budget(recipe: "Recipe") -> str | None:
    """C10: warm-up and decay fit into the budget, and no formula divides by zero."""
    settings = recipe.learning_rate
    if settings.schedule == "wsd" and settings.warmup_fraction + settings.decay_fraction > 1.0:
        return (
            f"learning_rate.warmup_fraction {settings.warmup_fraction:g} and learning_rate.decay_fraction "
            f"{settings.decay_fraction:g} add up to more than 1, the whole budget; reduce one of them"
        )
    if settings.schedule in ("exponential", "inverse_time") and settings.final_fraction == 0.0:
        return f"learning_rate.final_fraction: {settings.schedule} never reaches 0; use a small value such as 0.01"
    if settings.schedule == "inverse_sqrt" and settings.warmup_fraction == 0.0:
        return "learning_rate.warmup_fraction: inverse_sqrt needs a warm-up above 0; use 0.1"
    return None


def batch_sizes_have_an_order(recipe: "Recipe") -> str | None:
    """C11: sizes are between the minimum and the maximum."""
    settings = recipe.batch_size
    if recipe.stopping.grows_batches and settings.size > recipe.stopping.batch_maximum:
        problem = f"batch_size.size: {settings.size} is above stopping.batch_maximum, {recipe.stopping.batch_maximum}"
        return f"{problem}; {CHANGE_ONE}"
    if settings.policy == "fixed":
        return None
    name, smallest = ("minimum", settings.minimum) if settings.policy == "random" else ("size", settings.size)
    if smallest > settings.maximum:
        return f"batch_size.{name}: {smallest} is above batch_size.maximum, {settings.maximum}; {CHANGE_ONE}"
    if settings.is_measured and settings.size < settings.minimum:
        return f"batch_size.size: {settings.size} is below batch_size.minimum, {settings.minimum}; change one"
    if settings.largest > settings.maximum:
        return (
            f"batch_size.ratio: {settings.ratio} times batch_size.minimum is {settings.largest}, "
            f"above batch_size.maximum, {settings.maximum}; {CHANGE_ONE}"
        )
    return None


def scaled_losses_are_not_accumulated(recipe: "Recipe") -> str | None:
    """C14: with a loss scale a micro-batch may be skipped; the sum would be the gradient of another batch."""
    if not recipe.precision.scales_loss:
        return None
    if recipe.batch_size.micro_size:
        return "precision: mixed_float16 excludes batch_size.micro_size; use mixed_bfloat16"
    if recipe.measures_gradients:
        reader = _noise_reader(recipe)
        return f"precision: mixed_float16 hides the gradient noise that {reader} needs; use mixed_bfloat16"
    return None


def _noise_reader(recipe: "Recipe") -> str:
    is_policy = recipe.batch_size.is_measured
    return f"batch_size.policy {recipe.batch_size.policy}" if is_policy else "learning_rate.batch_scaling gns"


def only_crossentropy_has_smoothed_labels(recipe: "Recipe") -> str | None:
    """C15: label smoothing changes the targets of crossentropy; other losses do not have it, of heads one may."""
    loss = recipe.training.loss
    if isinstance(loss, Mapping):
        loss = "crossentropy"
    if not recipe.penalty.label_smoothing or loss in ("auto", "crossentropy"):
        return None
    return f"penalty.label_smoothing: smooths the targets of crossentropy, but training.loss is {loss}; use one of both"


RATIO_RULES = (*ERROR_RULES, "divergence")


def signed_losses_are_not_divided(recipe: "Recipe") -> str | None:
    """C16: rules, penalties and batch sizes that follow a ratio of losses need losses above 0."""
    signed = next((loss for loss in recipe.training.losses if loss in SIGNED_LOSSES), None)
    return None if signed is None else divided_loss(recipe, signed)


def divided_loss(recipe: "Recipe", loss: str) -> str | None:
    """Return the contradiction of C16 for a loss that may be 0 or below, from the study or compiled; None if none."""
    readers = {
        f"stopping.rule: {recipe.stopping.rule}": recipe.stopping.rule in RATIO_RULES,
        f"penalty.adaptation: {recipe.penalty.adaptation}": recipe.penalty.adaptation == "gap_control",
        f"batch_size.policy: {recipe.batch_size.policy}": recipe.batch_size.policy == "cabs",
    }
    found = next((reader for reader, is_used in readers.items() if is_used), None)
    return f"{found} divides by a loss, and {loss} may be 0 or below; use another" if found else None


RULES: dict[str, Callable[["Recipe"], str | None]] = {
    "C1": full_batches_do_not_grow,
    "C2": self_set_rates_have_no_schedule,
    "C3": only_one_technique_reacts_to_plateaus,
    "C4": stopping_waits_longer_than_plateau,
    "C5": weights_are_not_shrunk_twice,
    "C6": proximal_steps_are_exact_or_declared,
    "C10": schedule_fits_the_budget,
    "C11": batch_sizes_have_an_order,
    "C13": adaptive_penalties_have_held_out_examples,
    "C14": scaled_losses_are_not_accumulated,
    "C15": only_crossentropy_has_smoothed_labels,
    "C16": signed_losses_are_not_divided,
    "C18": changes_are_of_numbers_that_nothing_else_sets,
}


def adafactor_caps_its_rate(recipe: "Recipe") -> str | None:
    """C8: Keras' Adafactor uses at most 1/√t of any rate, t counted from 1."""
    if recipe.optimizer.kind != "adafactor":
        return None
    return "optimizer: adafactor caps the rate at 1/√update: a peak of 0.1 from update 100, 0.01 from update 10,000"


def muon_leaves_some_weights_to_adam(recipe: "Recipe") -> str | None:
    """C9: Muon does not train all weights; the training lists the matrices among the others."""
    if recipe.optimizer.kind != "muon":
        return None
    return "optimizer: muon leaves biases, embeddings, output layers and kernels that are not matrices to Adam"


def first_phases_have_an_epoch(recipe: "Recipe") -> str | None:
    """C17: a second phase from the first epoch freezes nothing."""
    if recipe.training.second_phase != 1:
        return None
    share = recipe.training.fine_tuning_fraction
    return f"training.unfreeze_at: 1 freezes nothing: all layers train from the first epoch, at {share:g} of the rate"


# Notes on recipes that are trained nevertheless.
NOTES: dict[str, Callable[["Recipe"], str | None]] = {
    "C8": adafactor_caps_its_rate,
    "C9": muon_leaves_some_weights_to_adam,
    "C17": first_phases_have_an_epoch,
}


def notes_on(recipe: "Recipe") -> list[str]:
    """Return the notes on a recipe."""
    return [message for note in NOTES.values() if (message := note(recipe))]
