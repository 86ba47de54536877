"""The content of a study's sections in canonical form: what affects the results of trials, and nothing else.

Keys that later versions added are left out where they are not set, so that older studies keep their digests.
"""

import json
from typing import Any

from nightune.tuning.search.domains import Cases, Domain
from nightune.tuning.search.search_space import Dimension
from nightune.tuning.study.data_section import OF_SOURCE, DataSection
from nightune.tuning.study.ends import MAY_CHANGE
from nightune.tuning.study.objective import Objective
from nightune.tuning.study.search_section import SearchSection

COLUMN_KEYS = ("text", "codes", "images", "hashed", "target_encoded", "date_parts")


def data_content(data: DataSection) -> dict[str, Any]:
    """Omit a ranking share of 0, no gap, and choices that are not made."""
    content = data.model_dump(mode="json")
    later = ("missing", "class_names", "numeric", "dates", "weight", *COLUMN_KEYS, *OF_SOURCE)
    content = {name: value for name, value in content.items() if value or name not in later}
    if content["ignore_class"] is None:  # a class may be 0
        del content["ignore_class"]
    for name in ("ranking", "gap", "allow_overlap", "folds"):
        if not content["split"][name]:
            del content["split"][name]
    return content


def objective_content(objective: Objective) -> dict[str, Any]:
    """Omit the usual average, and what changes no trial."""
    usual = {"average"} if objective.average == "weights" else set()
    usual |= {"head"} if objective.head is None else set()
    usual |= {name for name in ("metrics", "directions") if not getattr(objective, name)}
    return objective.model_dump(mode="json", exclude={"report", "threshold", *usual})


def search_content(search: SearchSection) -> dict[str, Any]:
    """Omit absent keys of rungs, a start that is none by default, and what changes no trial.

    The points that a sweep begins with are recorded on its run.
    """
    usual = {"start"} if search.start == "none" and search.method != "auto" else set()
    content = search.model_dump(mode="json", exclude={*MAY_CHANGE, *usual})
    return {name: value for name, value in content.items() if name in ("trials", "method") or value is not None}


def dimension_content(dimension: Dimension) -> dict[str, Any]:
    """Return a dimension's domain, and the conditions under which it is active."""
    conditions = {
        condition.name: {"values": sorted(condition.values, key=json.dumps), "or_absent": condition.or_absent}
        for condition in dimension.when
    }
    return {"domain": _domain_content(dimension.domain), "when": conditions}


def _domain_content(domain: Domain) -> dict[str, Any]:
    if not isinstance(domain, Cases):
        return dict(vars(domain))
    cases = [[sorted(values, key=json.dumps), _domain_content(each)] for values, each in domain.domains]
    return {"controller": domain.controller, "cases": sorted(cases, key=json.dumps)}
