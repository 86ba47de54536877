"""The rule against changes within a training that contradict its other params."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from nightune.models.techniques.keys import NO_VALUE
from nightune.models.techniques.optimizers.optimizers import ALLOWED_SCHEDULES
from nightune.vocabulary import CHANGEABLE, CHANGES, DROPOUT

if TYPE_CHECKING:
    from nightune.models.recipe.recipe import Recipe

Changes = Mapping[str, Mapping[str, float]]  # values by name, by epoch


def changes_are_of_numbers_that_nothing_else_sets(recipe: "Recipe") -> str | None:
    """C18: a value that changes by epochs is set by nothing else, and its change builds no other graph.

    Several contradictions are named in one message.
    """
    training = recipe.training
    if isinstance(training.changes, str):
        return None
    found = [*_set_otherwise(recipe, training.changes), *_changed_graphs(recipe, training.changes)]
    if len(found) < 2:
        return next((f"{CHANGES}{f'.{epoch}' if epoch else ''}: {said}" for epoch, said in found), None)
    return f"{CHANGES}: {'; '.join(f'{epoch}: {said}' if epoch else said for epoch, said in found)}"


def _set_otherwise(recipe: "Recipe", changes: Changes) -> Iterator[tuple[str, str]]:
    """Yield what else sets a value that changes, each with an empty epoch: it holds for all of them."""
    if recipe.training.second_phase:
        yield "", "a second phase has an optimizer of its own; remove training.unfreeze_at, or changes"
    changed = {name for table in changes.values() for name in table}
    kind, follows = recipe.optimizer.kind, recipe.learning_rate.hypergradient_strength > 0.0
    if "learning_rate.peak" in changed and (kind in ALLOWED_SCHEDULES or follows):
        who = f"{kind} with a hypergradient" if follows else kind
        yield "", f"learning_rate.peak, but {who} sets its own rate; use another optimizer"
    if "penalty.strength" in changed and recipe.penalty.adaptation != "none":
        yield "", "penalty.strength, but penalty.adaptation sets it; use adaptation none"


def _changed_graphs(recipe: "Recipe", changes: Changes) -> Iterator[tuple[str, str]]:
    """Yield the changes from or to the value at which a param's graph is another one, with their epochs."""
    dropout = recipe.model.get("dropout")
    held = {
        "penalty.label_smoothing": recipe.penalty.label_smoothing,
        "one_minus_momentum": recipe.optimizer.one_minus_momentum,
        DROPOUT: 0.0 if dropout in (None, NO_VALUE) else dropout,
    }
    for epoch, table in changes.items():
        for name, value in table.items():
            if name == DROPOUT and "dropout" not in recipe.model:
                yield epoch, f"{name}, but the architecture has no parameter dropout"
                continue
            edge = CHANGEABLE[name]
            if edge is not None and (value == edge) != (held[name] == edge):
                yield epoch, f"{name} from {held[name]:g} to {value:g} is another graph; avoid {edge:g}"
