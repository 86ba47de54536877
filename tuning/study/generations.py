"""The generations of a search by population, and what of a study's space does not fit it."""

import math
from collections.abc import Iterator

from nightune.tuning.errors import Problem
from nightune.tuning.search.population import Rules, perturbed_dimensions
from nightune.tuning.search.search_space import SearchSpace
from nightune.tuning.study.population import POPULATION
from nightune.tuning.study.search_section import SearchSection
from nightune.tuning.trial import Bracket, Rung
from nightune.vocabulary import CHANGEABLE, CHANGES, listing

GENERATIONS = 10  # by default, as far as the epochs allow
TABLE_CHARACTERS = 8000  # that MLflow keeps of the params of a trial, in a tag
VALUE_CHARACTERS, EPOCH_CHARACTERS = 45, 15  # of a changed value, and of the epoch of a change, at most


def rules_of(search: SearchSection) -> Rules:
    """Return how the population of a search develops."""
    assert search.population is not None  # the section requires it
    given = {
        "truncation": search.truncation,
        "factors": search.perturb_factors,
        "resample_probability": search.resample_probability,
    }
    return Rules(search.population, **{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]


def generation_epochs(search: SearchSection) -> list[int]:
    """Return the last epoch of each generation; the last generation may be shorter."""
    every = search.perturb_every or max(1, search.epochs // GENERATIONS)
    return [*range(every, search.epochs, every), search.epochs]


def generations(search: SearchSection) -> tuple[Bracket, ...]:
    """Return a bracket for each generation: the whole population, of which the first trial numbers are new."""
    rules, begin, first, found = rules_of(search), 0, 0, list[Bracket]()
    for epochs in generation_epochs(search):
        new = rules.replaced if begin else rules.size
        found.append(Bracket((Rung(rules.size, epochs),), first, rules.size - new, begin))
        begin, first = epochs, first + new
    return tuple(found)


def population_problems(search: SearchSection, space: SearchSpace) -> Iterator[Problem]:
    """Yield what of a space does not fit a search by population."""
    if search.method != POPULATION:
        return
    perturbed = perturbed_dimensions(space)
    if not perturbed:
        yield Problem("search.method", f"{_nothing_to_change(space)}; give one a range, or use method 'random'")
    stopping = next((name for name in space.by_name if name.startswith("stopping.") and not _is_off(space, name)), None)
    if stopping:
        message = f"stops trainings, but {POPULATION!r} has no rule: the worst members are replaced instead"
        yield Problem(stopping, f"{message}; remove it, or use method 'random'")
    if CHANGES in space.by_name:
        yield Problem(
            CHANGES, f"method {POPULATION!r} finds the changes itself; remove the table, or use method 'random'"
        )
    if any(space.options("training.unfreeze_at")):
        message = f"with {POPULATION!r} no member can continue from a second phase: its optimizer is another"
        yield Problem("training.unfreeze_at", f"{message}; remove it, or use method 'random'")
    count = len(generation_epochs(search))
    most = TABLE_CHARACTERS // (EPOCH_CHARACTERS + VALUE_CHARACTERS * max(1, len(perturbed)))
    if count > most:
        message = f"{count} generations of {search.epochs} epochs are more changes than a trial's record holds"
        least = math.ceil(search.epochs / most)
        yield Problem("search.perturb_every", f"{message} (allowed: {most}; set perturb_every = {least} or more)")


def _nothing_to_change(space: SearchSpace) -> str:
    """Say why no value can change: none of those that may is searched, or each of its values is another graph."""
    message = f"{POPULATION!r} changes values within a training, but"
    searched = [name for name in space.varying if name in CHANGEABLE]
    if not searched:
        return f"{message} none is searched of those that may change ({listing(CHANGEABLE, 'allowed')})"
    fixed = ", ".join(f"{name} ({space.by_name[name].domain})" for name in searched)
    return f"{message} no value of {fixed} can become another one without another graph or other dimensions"


def _is_off(space: SearchSpace, name: str) -> bool:
    return name == "stopping.rule" and space.options(name) == ["none"]
