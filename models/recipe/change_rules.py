"""The rule against changes within a training that contradict its other params."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from nightune.models.techniques.keys import NO_VALUE
from nightune.models.techniques.optimizers.optimizers import ALLOWED_SCHEDULES
from nightune.vocabulary import CHANGEABLE, DROPOUT

if TYPE_CHECKING:
    from nightune.models.recipe.recipe import Recipe


def changes_are_of_numbers_that_nothing_else_sets(recipe: "Recipe") -> str | None:
    """C18: a value that changes by epochs is set by nothing else, and its change builds no other graph."""
    training = recipe.training
    if isinstance(training.changes, str):
        return None
    if training.second_phase:
        return "training.changes: a second phase has an optimizer of its own; remove training.unfreeze_at, or changes"
    changed = {name for table in training.changes.values() for name in table}
    kind, follows = recipe.optimizer.kind, recipe.learning_rate.hypergradient_strength > 0.0
    if "learning_rate.peak" in changed and (kind in ALLOWED_SCHEDULES or follows):
        who = f"{kind} with a hypergradient" if follows else kind
        return f"training.changes: learning_rate.peak, but {who} sets its own rate; use another optimizer"
    if "penalty.strength" in changed and recipe.penalty.adaptation != "none":
        return "training.changes: penalty.strength, but penalty.adaptation sets it; use adaptation none"
    return _changed_graph(recipe, training.changes)


def _changed_graph(recipe: "Recipe", changes: Mapping[str, Mapping[str, float]]) -> str | None:
    """Return a change from or to the value at which a param's graph is another one; None if there is none."""
    dropout = recipe.model.get("dropout")
    held = {
        "penalty.label_smoothing": recipe.penalty.label_smoothing,
        "one_minus_momentum": recipe.optimizer.one_minus_momentum,
        DROPOUT: 0.0 if dropout in (None, NO_VALUE) else dropout,
    }
    for epoch, table in changes.items():
        for name, value in table.items():
            if name == DROPOUT and "dropout" not in recipe.model:
                return f"training.changes.{epoch}: {name}, but the architecture has no parameter dropout"
            edge = CHANGEABLE[name]
            if edge is not None and (value == edge) != (held[name] == edge):
                said = f"training.changes.{epoch}: {name} from {held[name]:g} to {value:g}"
                return f"{said} is another graph; avoid {edge:g}"
    return None
