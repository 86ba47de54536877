"""Prove before the first trial that models with code of their own can be trained as the study says."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from nightune.models.errors import InputError
from nightune.models.recipe.recipe import Recipe
from nightune.models.training.model_key import model_key
from nightune.models.user_code import is_reference
from nightune.tasks.prove_reopening import SEED, first_built, recipes_of, searched_options
from nightune.tuning.errors import Problem, StudyError
from nightune.tuning.study.study import Study

if TYPE_CHECKING:
    from nightune.models.data.dataset import Dataset


def prove_training(study: Study, dataset: "Dataset", architectures: Sequence[str]) -> None:
    """Train models with own code on a few rows; those with an own `train_step` in the middle, at the ends, by option.

    StudyError names the remedy. Models that Keras trains need no proof. Imports Keras, which is loaded.
    """
    problems: list[Problem] = []
    for architecture in filter(is_reference, architectures):
        problem = _problem(study, dataset, architecture)
        problems += [] if problem is None else [Problem(problem.key, f"{architecture}: {problem.message}")]
    if problems:
        raise StudyError(str(study.path), problems)


def _problem(study: Study, dataset: "Dataset", architecture: str) -> InputError | None:
    """Return why no trial of an architecture can be trained as the study says."""
    from nightune.models.engines.own_steps import refuse_unusable_step  # noqa: PLC0415 - Keras
    from nightune.models.networks.own_code import has_own_code  # noqa: PLC0415 - Keras
    from nightune.models.networks.own_methods import TRAINING, own_methods  # noqa: PLC0415 - Keras

    built = first_built(study, dataset, architecture)
    if built is None:
        return None
    has_step = bool(own_methods(built[1], TRAINING))
    stepping = list(recipes_of(study, architecture)) if has_step else []
    for recipe in [*stepping, *_with_steps(study, dataset, architecture, stepping)]:
        try:
            refuse_unusable_step(recipe, dataset, study.path.parent)
        except InputError as error:
            return error
    return _problem_of_all(study, dataset, architecture) if has_own_code(built[1]) and not has_step else None


def _with_steps(study: Study, dataset: "Dataset", architecture: str, known: Sequence[Recipe]) -> Iterator[Recipe]:
    """Yield recipes of further options, texts and switches, whose models train themselves."""
    from nightune.models.engines.keras_parts.recipe_models import build_recipe_model  # noqa: PLC0415 - Keras
    from nightune.models.networks.own_methods import TRAINING, own_methods  # noqa: PLC0415 - Keras

    seen = {model_key(recipe, "") for recipe in known}
    for name, option in searched_options(study):
        recipe = next(recipes_of(study, architecture, {name: option}), None) if isinstance(option, str | bool) else None
        if recipe is not None and model_key(recipe, "") not in seen:
            seen.add(model_key(recipe, ""))
            with suppress(InputError):  # it cannot be built, as others report
                if own_methods(build_recipe_model(recipe, dataset, study.path.parent, SEED), TRAINING):
                    yield recipe


def _problem_of_all(study: Study, dataset: "Dataset", architecture: str) -> InputError | None:
    """Return why no model with own code can be trained; None if one can. What fails in places its trials report."""
    from nightune.models.engines.own_steps import refuse_untrainable  # noqa: PLC0415 - Keras

    problem = None
    for recipe in recipes_of(study, architecture):
        try:
            refuse_untrainable(recipe, dataset, study.path.parent)
        except InputError as error:
            problem = problem or error
        else:
            return None
    return problem
