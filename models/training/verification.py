"""May a compiled engine train these recipes? What it cannot express is refused; then two trials are compared.

Two, and with different numbers: a hyperparameter that a program has baked in passes on the first trial.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np

from models.architectures import build_model
from models.examples import Dataset, Examples
from models.recipe import Recipe
from models.training.engine import Engine, make_engine
from models.training.loop import train
from models.training.seeds import Seeds

COMPILED_ENGINES = {"tensorflow": "tensorflow", "jax": "jax"}  # by Keras' backend
DATA_BYTES = 2**31  # a compiled engine holds the data on the device, beside a copy of it
TOLERANCE = 1e-3  # of how far the weights moved
COMPARED_EXAMPLES = 200


@dataclass(frozen=True)
class Comparison:
    """The compiled engine, and either why it may not train or how well it agrees."""

    engine: str
    refusal: str | None = None
    agreement: str = ""


def compare_engines(recipes: Sequence[Recipe], dataset: Dataset, folder: Path) -> Comparison:
    """Say whether the backend's compiled engine can train the recipes, and trains two of them as `fit` does."""
    backend = keras.backend.backend()
    engine = COMPILED_ENGINES.get(backend)
    if engine is None:
        return Comparison("", f"there is no compiled engine for Keras' backend {backend}")
    try:
        refusal = _refusal(recipes, dataset, folder)
        if refusal:
            return Comparison(engine, refusal)
        differences = _differences(engine, _pair(recipes), dataset, folder)
    except (MemoryError, OSError):
        raise
    except Exception as error:  # the user's own model may raise anything; its trials will say what
        lines = str(error).strip().splitlines() or [""]
        return Comparison(engine, f"two trials could not be compared: {type(error).__name__}: {lines[0]}")
    worst = max(differences)
    if not worst <= TOLERANCE:
        return Comparison(engine, f"its weights differ from fit's by {worst:.1g} of their way (at most {TOLERANCE:g})")
    return Comparison(engine, agreement=f"two trials agree with fit within {worst:.1g} of the weights' way")


def _refusal(recipes: Sequence[Recipe], dataset: Dataset, folder: Path) -> str | None:
    if not recipes:
        return "there is no recipe to compare with fit"
    held = sum(part.inputs.nbytes for part in (dataset.train, dataset.validation))
    if held > DATA_BYTES:
        return f"the data takes {held / 2**30:.1f} GiB; compiled engines hold up to {DATA_BYTES / 2**30:.0f} GiB"
    for architecture in dict.fromkeys(recipe.architecture for recipe in recipes):
        recipe = next(recipe for recipe in recipes if recipe.architecture == architecture)
        shape, size = dataset.input_shape, dataset.output_size
        model = build_model(architecture, recipe.model, shape, size, folder=folder, seed=0)
        for method in ("train_step", "compute_loss"):
            if getattr(type(model), method) is not getattr(keras.Model, method):
                return f"{architecture} has a {method} of its own"
    return None


def _pair(recipes: Sequence[Recipe]) -> list[Recipe]:
    """Two recipes that would share a program and differ in numbers, if there are such; else the first two."""
    by_graph = itertools.groupby(sorted(recipes, key=_shape), key=_shape)
    pairs = [members for _, group in by_graph if len(members := list(group)) > 1]
    return (pairs[0] if pairs else list(recipes))[:2]


def _shape(recipe: Recipe) -> str:
    return recipe.graph_key


def _differences(name: str, recipes: Sequence[Recipe], dataset: Dataset, folder: Path) -> list[float]:
    """How far apart two engines end after an epoch on a part of the data, as a share of the way of the weights.

    One engine trains all of the recipes: what it keeps from the first must not show in the second.
    """
    part = replace(dataset, train=_first(dataset.train), validation=_first(dataset.validation))
    reference, compiled = make_engine("fit", part, folder), make_engine(name, part, folder)
    return [_difference(reference, compiled, recipe, part) for recipe in recipes]


def _difference(reference: Engine, compiled: Engine, recipe: Recipe, dataset: Dataset) -> float:
    start = _flat(reference.weights(reference.start(recipe, Seeds.from_trial(0))))
    expected, trained = (_flat(_end(engine, recipe, dataset)) for engine in (reference, compiled))
    way = float(np.linalg.norm(expected - start))
    return float(np.linalg.norm(trained - expected)) / max(way, 1e-12)


def _end(engine: Engine, recipe: Recipe, dataset: Dataset) -> list[np.ndarray]:
    outcome = train(engine, recipe, dataset, epochs=1, seed=0, monitor="val_loss", direction="minimize")
    return outcome.weights


def _first(examples: Examples) -> Examples:
    return Examples(examples.inputs[:COMPARED_EXAMPLES], examples.targets[:COMPARED_EXAMPLES])


def _flat(weights: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([weight.astype(np.float64).ravel() for weight in weights])
