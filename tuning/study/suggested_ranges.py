"""The parameter of a study file that holds a suggested range for each option of its controller."""

from collections.abc import Mapping
from typing import Any

from nightune.tuning.search.domains import Cases, Choice, Range
from nightune.tuning.search.search_space import SearchSpace
from nightune.tuning.study.vocabulary import CONTROLLER

Suggested = Mapping[str, tuple[float, float]]  # optimizer → low and high, on a log scale
GRID_STEPS = 5


def parameter_of_ranges(space: SearchSpace, tables: Mapping[str, Any], name: str, suggested: Suggested) -> Any:
    """Return the value of `name` in [space] that searches the suggested ranges, or None if there are none.

    `tables` are those of the study file. The value is one range if the study has one optimizer, else a list of cases:
    optimizers without a suggestion keep their values, and those that the written conditions exclude stay excluded.
    Where no cases are possible it is one range that contains all, with the written conditions.
    """
    included = {option: pair for option, pair in suggested.items() if applies(space, name, option)}
    if not included:
        return None
    is_grid = tables.get("search", {}).get("method") == "grid"
    if len(options_of(space)) > 1 and not why_no_cases(space, tables, name):
        return _cases(space, name, included, is_grid)
    low, high = min(low for low, _ in included.values()), max(high for _, high in included.values())
    steps = _steps(_domain(space, name, next(iter(included))), is_grid)
    conditions = _conditions(tables, name)
    return {"low": low, "high": high, "scale": "log", **steps, **({"when": conditions} if conditions else {})}


def options_of(space: SearchSpace) -> tuple[str, ...]:
    """Return the optimizers of a study, those of all cases; none if it does not name any."""
    return tuple(map(str, space.options(CONTROLLER)))


def why_no_cases(space: SearchSpace, tables: Mapping[str, Any], name: str) -> str:
    """Say why `name` cannot be given by cases on the optimizer; empty if it can."""
    others = [controller for controller in _conditions(tables, name) if controller != CONTROLLER]
    if others:
        return f"{name} depends on {' and '.join(others)} in this study"
    dimension = space.by_name.get(CONTROLLER)
    return f"{CONTROLLER} is itself given by cases" if dimension and isinstance(dimension.domain, Cases) else ""


def _cases(space: SearchSpace, name: str, included: Suggested, is_grid: bool) -> Any:
    cases: list[tuple[dict[str, Any], list[str]]] = []
    for option in options_of(space):
        before = _domain(space, name, option)
        if option in included:
            low, high = included[option]
            fields = {"low": low, "high": high, "scale": "log", **_steps(before, is_grid)}
        elif before is not None:
            fields = _written(before)
        else:
            continue  # it keeps its default
        same = next((listed for each, listed in cases if each == fields), None)
        if same is None:
            cases.append((fields, [option]))
        else:
            same.append(option)
    written = [{**fields, "when": {CONTROLLER: listed if len(listed) > 1 else listed[0]}} for fields, listed in cases]
    return written if len(written) > 1 else written[0]


def applies(space: SearchSpace, name: str, option: str) -> bool:
    """Return False if a condition of `name` on the optimizer excludes the option."""
    dimension = space.by_name.get(name)
    when = () if dimension is None else dimension.when
    return all(condition.holds({CONTROLLER: option}) for condition in when if condition.name == CONTROLLER)


def _domain(space: SearchSpace, name: str, option: str) -> Range | Choice | None:
    """The domain that the study has for an option; None if there is none, or if it depends on another parameter."""
    dimension = space.by_name.get(name)
    if dimension is None or not applies(space, name, option):
        return None
    domain = dimension.domain
    if isinstance(domain, Cases):
        return domain.under({CONTROLLER: option}) if domain.controller == CONTROLLER else None
    return domain


def _steps(before: Range | Choice | None, is_grid: bool) -> dict[str, int]:
    """The number of steps of a range: that of the earlier one, or in a grid as many as it had options."""
    if isinstance(before, Range) and before.steps is not None:
        return {"steps": before.steps}
    if not is_grid:
        return {}
    count = len(before.options) if isinstance(before, Choice) else 1
    return {"steps": count if count > 1 else GRID_STEPS}


def _written(domain: Range | Choice) -> dict[str, Any]:
    if isinstance(domain, Choice):
        return {"value": domain.options[0]} if domain.is_fixed else {"options": list(domain.options)}
    fields = {"low": domain.low, "high": domain.high, "scale": domain.scale}
    return fields if domain.steps is None else {**fields, "steps": domain.steps}


def _conditions(tables: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The conditions that are written at the parameter itself; those of its cases are joined."""
    written: Any = tables.get("space", {})
    for part in name.split("."):
        written = written.get(part) if isinstance(written, Mapping) else None
    if isinstance(written, Mapping):
        return dict(_flat("", written.get("when", {})))
    joined: dict[str, list[Any]] = {}
    for case in written if isinstance(written, list) else []:
        when = _flat("", case.get("when", {})) if isinstance(case, Mapping) else []
        for controller, values in when:
            joined.setdefault(controller, []).extend(values if isinstance(values, list) else [values])
    return joined


def _flat(prefix: str, table: Mapping[str, Any]) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in table.items():
        found += _flat(f"{prefix}{name}.", value) if isinstance(value, Mapping) else [(f"{prefix}{name}", value)]
    return found
