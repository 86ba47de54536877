"""The graph key: the structure of a recipe that changes its training graph, so that it cannot be data.

Computed without Keras: a flow groups trials into cohorts by graph key before an engine exists. The program key is the
same for graph keys that differ in nothing but parts that one program can hold.
"""

from dataclasses import replace
from typing import Any

from nightune.models.recipe.recipe import Recipe
from nightune.models.techniques.losses import AUTO, BALANCED, SQUARE_ROOTS, ClassWeight
from nightune.models.training.model_key import has_dropout_as_data, model_key


def graph_key(recipe: Recipe, code: str) -> str:
    """Return the key of a recipe; trials of one key share one graph. `code` is the digest of the user's code in it.

    All other numbers are data: rates, decay, penalties, momentum and Nesterov, β, ρ, ε, limits of clipping, the decay
    of an average, the strength of a hypergradient, the dropout rate of our own architectures where it is above 0, the
    amount of label smoothing where it is above 0, weights of classes, and batch sizes. The data set is the engine's.
    """
    return f"{model_key(recipe, code)} · {_update_structure(recipe)}{_loss_structure(recipe)}"


def program_key(recipe: Recipe, code: str, rules: frozenset[str] | None = None) -> str:
    """Return the key of the program that trains a recipe: one for all optimizers with elementwise rules.

    `rules` are those that programs hold beside each other, None for all; with fewer than two none are shared.
    Models whose weights cannot be one vector have a program for each graph key all the same; the engine knows.
    """
    if not has_shared_rule(recipe, rules):
        return graph_key(recipe, code)
    return f"{model_key(recipe, code)} · shared rules{_loss_structure(recipe)}"


def structure_key(recipe: Recipe, rules: frozenset[str] | None = None) -> str:
    """Return the program key as far as it is known of points before anything is built, for models of one code.

    A float of the model is taken for data where it is above 0, as is a dropout rate of our own architectures: it often
    is one of a user's function, too, and a continuous width would share its program with no other trial anyway. In
    mixed precision no rate is data.
    """
    if recipe.precision.is_mixed:
        return program_key(recipe, "", rules)
    model = {name: "data" if isinstance(value, float) and value > 0 else value for name, value in recipe.model.items()}
    return program_key(replace(recipe, model=model), "", rules)


def has_shared_rule(recipe: Recipe, rules: frozenset[str] | None = None) -> bool:
    """Return whether an update consists of a shared rule, one of those given, weight decay and penalties only."""
    if rules is not None and (len(rules) < 2 or recipe.optimizer.shared_rule not in rules):
        return False
    rate, penalty = recipe.learning_rate, recipe.penalty
    is_extended = rate.cycles_momentum or rate.hypergradient_strength or penalty.kind == "l1_proximal"
    return recipe.optimizer.shared_rule is not None and not is_extended


def _update_structure(recipe: Recipe) -> str:
    """Return the structure that changes the graph of an update: the optimizer's, and the recipe's additions."""
    words = [recipe.optimizer.structure]
    if recipe.learning_rate.cycles_momentum:
        words.append("cycling the momentum")
    if recipe.learning_rate.hypergradient_strength:
        # Multiplicative for Adam's kinds only, which share a family with no other kind.
        words.append("following its hypergradient")
    if recipe.penalty.kind == "l1_proximal":
        words.append("thresholding")
    if recipe.weight_decay.scope == "all":
        words.append("decaying all")
    return " ".join(words)


def _loss_structure(recipe: Recipe) -> str:
    """Return the structure that changes the graph of the loss."""
    training = recipe.training
    words = ["smoothed labels"] if recipe.penalty.label_smoothing else []
    words += ["weighted classes"] if training.has_class_weights else []
    stated = {name: getattr(training, name) for name in ("loss", "outputs", "quantiles", "loss_weights")}
    words += [f"{name} {value}" for name, value in stated.items() if value not in (AUTO, None)]
    return "".join(f" · {each}" for each in words)


def perturbed(recipe: Recipe) -> Recipe:
    """Return a recipe of the same graph key with other numbers, to find programs that contain some as constants."""
    optimizer = recipe.optimizer
    numbers = {name: 0.7 * getattr(optimizer, name) for name in _NUMBERS}
    model = {**recipe.model, "dropout": 0.7 * recipe.model["dropout"]} if has_dropout_as_data(recipe) else recipe.model
    penalty, rate = recipe.penalty, recipe.learning_rate
    weights = _other_weights(recipe.training.class_weight)
    rates = {name: 0.7 * getattr(rate, name) for name in ("peak", "hypergradient_strength", "hypergradient_maximum")}
    return replace(
        recipe,
        optimizer=replace(optimizer, **numbers),
        learning_rate=replace(rate, **rates),
        weight_decay=replace(recipe.weight_decay, strength=0.7 * recipe.weight_decay.strength),
        penalty=replace(penalty, strength=0.7 * penalty.strength, label_smoothing=0.7 * penalty.label_smoothing),
        training=replace(recipe.training, class_weight=weights),
        model=model,
    )


def _other_weights(class_weight: ClassWeight) -> ClassWeight:
    if isinstance(class_weight, str):
        return {BALANCED: SQUARE_ROOTS, SQUARE_ROOTS: BALANCED}.get(class_weight, class_weight)
    table: dict[str, Any] = {
        name: 0.7 * each if isinstance(each, int | float) else _other_weights(each)
        for name, each in class_weight.items()
    }
    return table


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
