"""Tell which points of a space share a compiled program, so that a search can prefer those of earlier trials."""

from nightune.models.recipe.params import read_recipe
from nightune.models.training.graph_key import structure_key
from nightune.tasks.trial.trainer import shared_rules_of
from nightune.tuning.search.new_points import Point, point_key
from nightune.tuning.search.search_space import SearchSpace
from nightune.tuning.search.structures import Structure


def structure_of(space: SearchSpace) -> Structure:
    """Return the function from a point to its structure; it keeps those that it has computed.

    A point with contradictions has one of its own: its trial fails, and compiles nothing.
    """
    rules = shared_rules_of(space)
    known: dict[str, str] = {}

    def structure(point: Point) -> str:
        key = point_key(point)
        if key not in known:
            try:
                known[key] = structure_key(read_recipe(point), rules)
            except ValueError:
                known[key] = key
        return known[key]

    return structure
