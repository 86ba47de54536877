"""The order in which trials are trained: those of one graph shape after each other."""

from models.recipe import read_recipe
from tuning.trial import Trial


def training_order(trial: Trial) -> tuple[str, int]:
    """Sort trials by this."""
    return graph_key(trial), trial.number


def graph_key(trial: Trial) -> str:
    """The shape of the trial's graph, or "refused" where its params make no recipe."""
    try:
        return str(read_recipe(trial.params).graph_key)
    except ValueError:
        return "refused"
