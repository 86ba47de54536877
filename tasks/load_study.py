"""Read a study file and check its names and values against those of the models."""

import tempfile
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nightune.models.errors import InputError
from nightune.models.networks.architectures import architecture_keys, takes_any_parameter
from nightune.models.recipe.params import KEYS, read_recipe
from nightune.models.techniques.keys import Key
from nightune.models.techniques.optimizers.search_ranges import customary_spaces
from nightune.models.techniques.stopping.user_rules import load_stop_function
from nightune.models.user_code import is_reference, load_loss_function
from nightune.tasks.metric_problems import own_metrics
from nightune.tasks.propose_trials import complete_params
from nightune.tuning.errors import Problem, StudyError
from nightune.tuning.search.population import perturbed_dimensions
from nightune.tuning.search.samplers import random
from nightune.tuning.study.changes import change_problems
from nightune.tuning.study.phases import phase_problems
from nightune.tuning.study.population import POPULATION
from nightune.tuning.study.study import Study
from nightune.tuning.study.study import load_study as parse_study
from nightune.tuning.study.vocabulary import Vocabulary
from nightune.tuning.trial import Params
from nightune.vocabulary import CHANGES, MODEL_PREFIX

ASKED_POINTS = 200  # at random, by which rules of recipes are asked about a space


def load_study(
    path: Path,
    *,
    trials: int | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    hours: float | None = None,
    until: str | None = None,
) -> Study:
    """Return the study in the file, with the overrides of the command line; StudyError lists all problems."""
    folder = path.resolve().parent
    study = _parsed(path, folder, trials=trials, epochs=epochs, seed=seed, hours=hours, until=until)
    problems = [
        *_stopping_problems(study),
        *_loss_problems(study),
        *_metric_problems(study),
        *phase_problems(study.space, study.search.epochs),
        *change_problems(study.space, study.search.epochs),
        *_refused_changes(study),
        *_perturbation_problems(study),
    ]
    if problems:
        raise StudyError(str(path), problems)
    return study


def refuse_missing_sampler(study: Study) -> None:
    """Refuse a method whose samplers come with a package that is not installed; name the remedy."""
    missing = missing_sampler(study.search.method)
    if missing:
        raise StudyError(str(study.path), [Problem("search.method", f"{missing}, or use method 'gp'")])


def missing_sampler(method: str) -> str:
    """Return which package a search method lacks, and how to install it; empty if it lacks none."""
    is_missing = method == "tpe" and find_spec("optuna") is None
    return "'tpe' needs the package optuna: pip install 'nightune[tpe]'" if is_missing else ""


def problems_of(text: str, study_file: Path) -> list[Problem]:
    """Return what would be wrong with a study of this text in the place of a file, which is left as it is."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / study_file.name
        copy.write_text(text, encoding="utf-8")
        try:
            _parsed(copy, study_file.resolve().parent)
        except StudyError as error:
            return list(error.problems)
    return []


def _parsed(path: Path, folder: Path, **overrides: Any) -> Study:
    """Return the study of a file whose functions are in a folder; StudyError lists all problems."""
    open_ended: list[str] = []

    def keys_of(name: str) -> dict[str, Key]:
        open_ended.extend([name] if takes_any_parameter(name, folder) else [])
        return architecture_keys(name, folder)

    vocabulary = Vocabulary(KEYS, keys_of, customary=customary_spaces())
    try:
        return parse_study(path, vocabulary, **overrides)
    except StudyError as error:
        raise StudyError(error.source, [_with_remedy(each, open_ended) for each in error.problems]) from error


def _with_remedy(problem: Problem, open_ended: Sequence[str]) -> Problem:
    """Say of an unknown parameter that a function with **kwargs would take any, misspelled ones, too."""
    if not open_ended or not problem.key.startswith(MODEL_PREFIX) or "unknown" not in problem.message:
        return problem
    name = problem.key.removeprefix(MODEL_PREFIX)
    said = f"{open_ended[0]} takes **kwargs, of which no study can know the names: add {name} to its signature"
    return Problem(problem.key, f"{problem.message}; {said}, such as {name}: int = 16")


def _refused_changes(study: Study) -> Iterator[Problem]:
    """Yield a problem for each table of changes that the recipes of no point have, among points at random."""
    tables = [table for table in study.space.options(CHANGES) if isinstance(table, dict)]
    points = random(study.space, ASKED_POINTS, [], study.sweep_seed(0)) if tables else []
    for table in tables:
        refusals = [_refusal_of_changes(study, point) for point in points if point.get(CHANGES) == table]
        if refusals and all(refusals):
            key, _, message = str(refusals[0]).partition(": ")
            yield Problem(key, message)


def _refusal_of_changes(study: Study, point: Params) -> str | None:
    """Return why the recipe of a point cannot have its changes; None if it can, or is refused for other reasons."""
    try:
        read_recipe(complete_params(study, point))
    except ValueError as error:
        return str(error) if str(error).startswith(CHANGES) else None
    return None


def _perturbation_problems(study: Study) -> Iterator[Problem]:
    """Yield a problem for each value that a population would change, but something else in the study sets.

    The rules of recipes are asked, with points of the first sweep whose values do not change: what they refuse of a
    change they would refuse of a new member.
    """
    if study.search.method != POPULATION:
        return
    points = study.draw(study.space, ASKED_POINTS, [], study.sweep_seed(0))
    for dimension in perturbed_dimensions(study.space):
        active = [point for point in points if dimension.name in point]
        refused = next(filter(None, (_refusal(study, point, dimension.name) for point in active)), None)
        if refused:
            remedy = f"give it one value, or leave out what sets it, or use another method than {POPULATION!r}"
            yield Problem(dimension.name, f"{refused}; {remedy}")


def _refusal(study: Study, point: Params, name: str) -> str | None:
    try:
        params = complete_params(study, point)
        read_recipe(params)
    except ValueError:
        return None  # a point that is refused without a change, too
    try:
        read_recipe({**params, CHANGES: {"2": {name: params[name]}}})
    except ValueError as error:
        return str(error)
    return None


_OF_LOSSES = ("training.loss", "training.quantiles", "training.loss_weights")


def _loss_problems(study: Study) -> Iterator[Problem]:
    """Yield the problems of the user's own losses that cannot be loaded, and of losses that are not comparable."""
    given = study.space.options("training.loss")
    for loss in [loss for each in given for loss in (each.values() if isinstance(each, dict) else [each])]:
        if isinstance(loss, str) and is_reference(loss):
            try:
                load_loss_function(loss, study.path.resolve().parent)
            except InputError as error:
                yield Problem(error.key, error.message)
    options = {name: study.space.options(name) for name in _OF_LOSSES}
    searched = next((name for name, known in options.items() if len(known) > 1), None)
    if searched and "val_loss" in study.objective.named:
        message = f"val_loss cannot rank trials of different losses, and {searched} is searched; use another metric"
        yield Problem(study.objective.key, message)


def _metric_problems(study: Study) -> Iterator[Problem]:
    """Yield the problem of a metric of the user that cannot be loaded."""
    try:
        own_metrics(study)
    except InputError as error:
        yield Problem(error.key, error.message)


def _stopping_problems(study: Study) -> Iterator[Problem]:
    """Yield a problem for each of the user's own stopping rules that cannot be loaded."""
    for rule in study.space.options("stopping.rule"):
        if isinstance(rule, str) and is_reference(rule):
            try:
                load_stop_function(rule, study.path.resolve().parent)
            except InputError as error:
                yield Problem(error.key, error.message)
