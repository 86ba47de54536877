"""`optimizer = "default"` in [space]: a level's name is expanded to its optimizers with their customary ranges."""

from collections.abc import Collection, Mapping
from typing import Any

from nightune.tuning.study.vocabulary import CONTROLLER, Vocabulary


def expand(
    tables: Mapping[str, Any], given: Collection[str], vocabulary: Vocabulary
) -> tuple[Mapping[str, Any], set[str]]:
    """Return the tables with a level's name expanded, and the names of the added parameters.

    `given` are the parameters that the study sets itself; these are not added.
    """
    space = tables.get("space", {})
    level = space.get(CONTROLLER) if isinstance(space, dict) else None
    if not isinstance(level, str) or level not in vocabulary.customary:
        return tables, set()
    ranges = vocabulary.customary[level]
    names = dict.fromkeys(name for params in ranges.values() for name in params if name not in given)
    added = {name: _written(name, ranges) for name in names}
    return {**tables, "space": {**space, CONTROLLER: list(ranges), **added}}, set(added)


def _written(name: str, ranges: Mapping[str, Mapping[str, Any]]) -> Any:
    """Return one parameter in the form of a study file: by cases if optimizers have different ranges."""
    cases: list[tuple[Any, list[str]]] = []
    for option, params in ranges.items():
        if name in params:
            same = next((options for domain, options in cases if domain == params[name]), None)
            if same is None:
                cases.append((params[name], [option]))
            else:
                same.append(option)
    tables = [
        {**(domain if isinstance(domain, dict) else {"options": domain}), "when": {CONTROLLER: options}}
        for domain, options in cases
    ]
    return tables if len(tables) > 1 else tables[0]
