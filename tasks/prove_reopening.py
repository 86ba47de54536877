"""Prove before the first trial that versions of a study's models open alone, where the models contain own code."""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from nightune.models.errors import InputError
from nightune.models.recipe.params import read_recipe
from nightune.models.recipe.recipe import Recipe
from nightune.models.serving.predictor import DESCRIPTION, PREPROCESSING, Predictor
from nightune.models.serving.rebuilt_model import ARCHIVE, finish_adapting
from nightune.models.user_code import is_reference
from nightune.tasks.opened_alone import problem_alone, remedy_for
from nightune.tasks.propose_trials import complete_params
from nightune.tasks.tracking.registry.model_folder import place_model, write_model_folder
from nightune.tuning.errors import Problem, StudyError
from nightune.tuning.search.midpoint import highest_point, lowest_point, middle_point
from nightune.tuning.study.study import Study
from nightune.tuning.trial import Value
from nightune.vocabulary import ARCHITECTURE, MODEL_PREFIX, counted

if TYPE_CHECKING:
    from nightune.models.data.dataset import Dataset
    from nightune.models.training.rebuilding import Rebuilding

NOTHING: Mapping[str, Value] = MappingProxyType({})
NO_NUMBER = "look for a division by 0, or a logarithm or root of a number below 0, and keep its argument above 0"
SEED = 17  # of the models here; the fresh process has another one, so that values outside the weights differ


def prove_reopening(study: Study, dataset: "Dataset", architectures: Sequence[str]) -> None:
    """Open a version of each architecture that contains own code in a fresh process, and compare a few rows.

    StudyError names the remedy. Models of Keras' own layers alone need no proof. Imports Keras, which is loaded.
    """
    problems = []
    for architecture in filter(is_reference, architectures):
        try:
            problem = _problem(study, dataset, architecture)
        except InputError as error:
            problem = "; ".join(filter(None, (error.message, remedy_for(error.message))))
        if problem:
            problems.append(Problem(ARCHITECTURE, f"{architecture}: {problem}"))
    if problems:
        raise StudyError(str(study.path), problems)


def _problem(study: Study, dataset: "Dataset", architecture: str) -> str:
    """Return why a version of an architecture does not open alone; empty if it does, or has no own code.

    Where outputs are NaN, which no version may answer, that is why.
    """
    from nightune.models.networks.own_code import has_own_code  # noqa: PLC0415 - Keras
    from nightune.models.training.rebuilding import learn_rebuilding  # noqa: PLC0415 - Keras

    built = first_built(study, dataset, architecture)
    if built is None or not has_own_code(built[1]):
        return ""
    recipe, model = built
    rebuilding = learn_rebuilding(model, recipe, dataset, study.path.parent)
    with tempfile.TemporaryDirectory() as name:
        version = _write_version(rebuilding, model, dataset, Path(name))
        raw = dataset.raw_example
        predictor = Predictor(model, dataset.preprocessing, dataset.description)
        outputs = predictor.outputs(predictor.inputs(raw))
        if undefined := int(np.isnan(outputs).any(axis=1).sum()):
            return (
                f"its output is NaN for {undefined} of {counted(len(outputs), 'row')} before any training; {NO_NUMBER}"
            )
        problem = problem_alone(version, raw, outputs, rebuilding.left_out)
    if problem is None:
        return ""
    said = f"a version of this model does not open by itself: {problem.said}"
    return f"{said}; {problem.remedy}" if problem.remedy else said


def first_built(study: Study, dataset: "Dataset", architecture: str) -> tuple[Recipe, Any] | None:
    """Build a model of the architecture, with changed weights; None if none can be built, as others report."""
    from nightune.models.engines.keras_parts.recipe_models import build_recipe_model  # noqa: PLC0415 - Keras

    for recipe in recipes_of(study, architecture):
        try:
            model = build_recipe_model(recipe, dataset, study.path.parent, SEED)
        except ValueError:  # a model that cannot be built
            continue
        generator = np.random.default_rng(SEED)
        model.set_weights([_changed(weight, generator) for weight in model.get_weights()])
        finish_adapting(model)
        return recipe, model
    return None


def recipes_of(study: Study, architecture: str, fixed: Mapping[str, Value] = NOTHING) -> Iterator[Recipe]:
    """Yield the recipes in the middle and at the ends of a study's space, of those of an architecture.

    `fixed` are params that they have where their conditions allow it.
    """
    chosen = {**fixed, ARCHITECTURE: architecture} if ARCHITECTURE in study.space.by_name else fixed
    for place in (middle_point, lowest_point, highest_point):
        with suppress(ValueError):  # contradicting params
            recipe = read_recipe(complete_params(study, place(study.space, chosen)))
            if recipe.architecture == architecture:
                yield recipe


def searched_options(study: Study) -> list[tuple[str, Value]]:
    """Return the parameters of models that have several options, with each of these."""
    space = study.space
    names = [name for name in space.by_name if name.startswith(MODEL_PREFIX) and name != ARCHITECTURE]
    return [(name, option) for name in names if len(options := space.options(name)) > 1 for option in options]


def _changed(weight: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Add small positive numbers, so that no two weights are equal; variances stay positive."""
    if weight.dtype.kind != "f":
        return weight
    return (weight + generator.uniform(0.0, 0.1, weight.shape)).astype(weight.dtype)


def _write_version(rebuilding: "Rebuilding", model: Any, dataset: "Dataset", folder: Path) -> Path:
    """Write the folder of a version, as promotion does."""
    from nightune.models.networks.packed_models import described_outputs  # noqa: PLC0415 - Keras

    parts, archive = folder / "parts", folder / ARCHIVE
    parts.mkdir()
    archive.write_bytes(rebuilding.archive(model.get_weights()))
    place_model(archive, parts)
    # Any finite outputs are logits; what they are in fact is settled later, and does not matter here.
    (parts / DESCRIPTION).write_text(json.dumps(described_outputs(model, dataset.description)), encoding="utf-8")
    if dataset.preprocessing is not None:
        (parts / PREPROCESSING).write_text(dataset.preprocessing.as_json(), encoding="utf-8")
    return write_model_folder(parts, dataset.raw_example, folder / "version")
