"""What in a study needs trials that are trained in full: `auto` then has no rungs by itself, and rungs are refused."""

from collections.abc import Iterator

from nightune.tuning.errors import Problem
from nightune.tuning.search.distinct import point_count
from nightune.tuning.search.search_space import SearchSpace
from nightune.tuning.study.objective import Objective
from nightune.tuning.study.population import POPULATION
from nightune.tuning.study.search_section import SearchSection
from nightune.vocabulary import shown

STOPPING = "stopping.rule"
COMPARING = "median"  # the rule that compares with curves of earlier trials: their length depends on the rung


def with_possible_rungs(search: SearchSection, objective: Objective | None, space: SearchSpace) -> SearchSection:
    """Return the section without the rungs that `auto` would have by itself, if the study needs full trainings."""
    has_several = objective is not None and bool(objective.metrics)
    needs_all = has_several or _compares_curves(space) or _repeats_one_point(space)
    return search.in_full() if needs_all and search.has_rungs and search.chooses_rungs else search


def why_in_full(search: SearchSection, objective: Objective, space: SearchSpace) -> str:
    """Say why `auto` trains all trials in full; empty if it has rungs, and for other methods."""
    return next(_reasons(search, objective, space)) if search.method == "auto" and not search.has_rungs else ""


def _reasons(search: SearchSection, objective: Objective, space: SearchSpace) -> Iterator[str]:
    if search.reuse:
        yield "search.reuse reads trials that are trained in full"
    if search.smallest_epochs is None:
        yield f"{search.epochs} epochs are too few for two ({search.least_epochs} or more)"
    if objective.metrics:
        yield "they would drop trials by the first objective alone"
    if _compares_curves(space):
        yield f"{STOPPING} {COMPARING!r} compares trials at equal epochs itself"
    if _repeats_one_point(space):
        yield "they train the one point of the space with different seeds"
    yield f"search.smallest_epochs is all {search.epochs} epochs"


def rung_problems(search: SearchSection, objective: Objective | None, space: SearchSpace) -> Iterator[Problem]:
    """Yield what in a study drops trials, but must not: by one objective, or beside a rule that compares them.

    And a reduction factor without rungs, which would reduce nothing.
    """
    remedy = _without_dropping(search)
    if search.row.drops == "if asked" and search.reduction_factor is not None and not search.has_rungs:
        has_several = objective is not None and bool(objective.metrics)
        yield _factor_without_rungs(search, may_have_rungs=not has_several and not _compares_curves(space))
    is_population = search.method == POPULATION
    if search.has_rungs and _compares_curves(space):
        message = f"{COMPARING!r} is not possible with rungs, which already compare trials at equal epochs"
        yield Problem(STOPPING, f"{message}; use another rule, or {remedy}")
    if objective is not None and objective.metrics and (search.has_rungs or is_population):
        # Small or quick models would be lost where they are less exact.
        dropping = "generations" if is_population else "rungs"
        message = f"{shown(list(objective.metrics))}, but {dropping} drop trials by the first alone"
        yield Problem("objective.metrics", f"{message}; {remedy}")


def _factor_without_rungs(search: SearchSection, may_have_rungs: bool) -> Problem:
    """Say why there are no rungs, and how to have some, unless something else in the study refuses them."""
    if search.method != "auto":
        why, or_else = f"without smallest_epochs the method {search.method!r} has no rungs", "add smallest_epochs = 3"
    elif search.smallest_epochs is not None:
        why, or_else = f"smallest_epochs, all {search.epochs} epochs, leaves no rungs", "remove smallest_epochs"
    elif search.reuse:
        why, or_else = "with reuse all trials are trained in full", "remove reuse"
    else:
        why, or_else = (
            f"{search.epochs} epochs are too few for two rungs",
            f"set epochs = {search.least_epochs} or more",
        )
    remedy = f"remove it, or {or_else}" if may_have_rungs else "remove it"
    return Problem("search.reduction_factor", f"{search.reduction_factor}, but {why}; {remedy}")


def _without_dropping(search: SearchSection) -> str:
    if search.row.drops == "if asked":
        return f"remove {' and '.join(search.keys_of_rungs)}"
    return "use method 'auto', 'random' or 'grid'"


def _repeats_one_point(space: SearchSpace) -> bool:
    """True if trials differ in their seeds alone: replicates, of which none is to be dropped."""
    return point_count(space, 2) == 1


def _compares_curves(space: SearchSpace) -> bool:
    rule = space.by_name.get(STOPPING)
    return rule is not None and rule.domain.contains(COMPARING)
