"""Tell which points of a space share a compiled program, so that a search can prefer those of earlier trials."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from nightune.models.networks.architectures import architecture_keys
from nightune.models.recipe.params import read_recipe
from nightune.models.techniques.keys import Key
from nightune.models.training.graph_key import structure_key
from nightune.tasks.trial.trainer import shared_rules_of
from nightune.tuning.search.new_points import Point, point_key
from nightune.tuning.search.search_space import SearchSpace
from nightune.tuning.search.structures import Structure
from nightune.vocabulary import ARCHITECTURE


def structure_of(space: SearchSpace, folder: Path | None = None) -> Structure:
    """Return the function from a point to its structure; it keeps those that it has computed.

    `folder` is the study's: with it, a parameter of the model that is not active counts as its default, which it has
    in the program. A point with contradictions has a structure of its own: its trial fails, and compiles nothing.
    """
    rules = shared_rules_of(space)
    known: dict[str, str] = {}

    @cache
    def keys(architecture: str) -> Mapping[str, Key] | None:
        return None if folder is None else architecture_keys(architecture, folder)

    def structure(point: Point) -> str:
        key = point_key(point)
        if key not in known:
            try:
                known[key] = structure_key(read_recipe(point, keys(str(point[ARCHITECTURE]))), rules)
            except ValueError:
                known[key] = key
        return known[key]

    return structure
