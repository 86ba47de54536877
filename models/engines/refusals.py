"""Reasons why no compiled engine can train a model: features that only `fit` supports, and data that is too large."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import keras
import numpy as np

from nightune.models.data.dataset import Dataset
from nightune.models.data.placement import gibibytes
from nightune.models.engines.memory import refusal_of_data
from nightune.models.errors import InputError
from nightune.models.networks.architectures import ARCHITECTURES
from nightune.models.networks.own_methods import TRAINING, own_methods
from nightune.models.recipe.recipe import Recipe
from nightune.models.serving.input_trees import arrays_of
from nightune.models.training.capabilities import only_in_fit
from nightune.models.training.model_key import model_key

TRIED_MODELS = 8  # that cannot be built or trained, or lack rows for ids, before all are taken to be so


def refusals_of(model: keras.Model, recipe: Recipe, dataset: Dataset) -> list[str]:
    """Return the reasons why no compiled engine can train a model: unsupported techniques, data, own training steps."""
    splits = [split for each in (dataset, *dataset.folds) for split in (each.train, each.validation)]
    parts = [array for split in splits for array in arrays_of(split.inputs)]
    held = sum(part.nbytes for part in parts)
    if any(isinstance(part, np.memmap) for part in parts):
        refusal: str | None = f"the data, {gibibytes(held)}, stays on disk"
    else:
        refusal = refusal_of_data(held)
    return [*only_in_fit(recipe), *([refusal] if refusal else []), *_own_steps(model, recipe)]


def refusals_of_sample(engine: Any, recipes: Sequence[Recipe]) -> list[str]:
    """Return the engine's reasons against one recipe per architecture, batch policy and technique that only fit has.

    A function may return another kind of model for each of its options: of these, too, one model each.
    """
    kinds: dict[tuple[object, ...], dict[str, Recipe]] = {}
    for recipe in recipes:
        for kind in (("", *_techniques(recipe)), *_options(recipe)):
            kinds.setdefault(kind, {})[f"{model_key(recipe, '')} {_techniques(recipe)}"] = recipe
    reasons: list[str] = []
    seen: set[str] = set()
    for (option, *_), models in kinds.items():
        if not option or seen.isdisjoint(models):
            key, found = _first_refusals(engine, models)
            reasons += found
            seen.add(key)
    return list(dict.fromkeys(reasons))


def _techniques(recipe: Recipe) -> tuple[object, ...]:
    """Return what of a recipe a compiled engine may refuse beside its model."""
    return (recipe.architecture, recipe.batch_size.policy, recipe.batch_size.micro_size > 0, *only_in_fit(recipe))


def _options(recipe: Recipe) -> Iterator[tuple[object, ...]]:
    """Yield the texts and switches among a model's parameters, each as a kind of its own.

    Built-in models have no training step of their own, and few techniques depend on whether their examples are coupled.
    """
    batch_size = recipe.batch_size
    if recipe.architecture not in ARCHITECTURES or batch_size.micro_size or batch_size.policy == "random":
        for name, value in recipe.model.items():
            if isinstance(value, str | bool):
                yield name, value, *_techniques(recipe)


def _first_refusals(engine: Any, models: Mapping[str, Recipe]) -> tuple[str, list[str]]:
    """Return the first model that can be built and the reasons against it; none if the first ones cannot."""
    for key, recipe in list(models.items())[:TRIED_MODELS]:
        with suppress(InputError):  # its own trials report it
            reasons: list[str] = engine.refusals(recipe)
            return key, reasons
    return "", []


def refuse_own_steps(model: keras.Model, recipe: Recipe) -> None:
    """Raise ValueError for a model that trains itself: the choice of the engine sees one model of each option only."""
    if reasons := _own_steps(model, recipe):
        raise ValueError(f"{'; '.join(reasons)} (run the study with --engine fit)")


def _own_steps(model: keras.Model, recipe: Recipe) -> list[str]:
    return [f"{recipe.architecture} has a {method} of its own" for method in own_methods(model, TRAINING)]
