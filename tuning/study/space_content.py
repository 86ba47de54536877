"""Read a search space, and what makes sweeps comparable, back from `Study.content`, as a sweep keeps it."""

import json
from collections.abc import Mapping
from typing import Any

from nightune.tuning.search.domains import Cases, Choice, Domain, Range
from nightune.tuning.search.search_space import Condition, Dimension, SearchSpace


def space_of(content: Mapping[str, Any]) -> SearchSpace | None:
    """Return the space of a study's content; None if it holds none, or if it is damaged."""
    held = content.get("space")
    if not isinstance(held, Mapping):
        return None
    try:
        return SearchSpace(tuple(_dimension(str(name), each) for name, each in held.items()))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def question_of(content: Mapping[str, Any]) -> str:
    """Return what sweeps have in common whose trials compare: space, objective, epochs and limits of models.

    Limits are part of it, since a model over them has no rank.
    """
    parts = [content["space"], content["objective"], content["search"]["epochs"], content.get("limits", {})]
    return json.dumps(parts, sort_keys=True)


def _dimension(name: str, content: Mapping[str, Any]) -> Dimension:
    conditions = (
        Condition(controller, tuple(each["values"]), bool(each["or_absent"]))
        for controller, each in content["when"].items()
    )
    return Dimension(name, _domain(content["domain"]), tuple(conditions))


def _domain(content: Mapping[str, Any]) -> Domain:
    if "options" in content:
        return Choice(tuple(content["options"]))
    if "controller" not in content:
        return Range(**content)
    cases = []
    for values, each in content["cases"]:
        domain = _domain(each)
        if isinstance(domain, Cases):
            raise ValueError("cases within cases")
        cases.append((tuple(values), domain))
    return Cases(str(content["controller"]), tuple(cases))
