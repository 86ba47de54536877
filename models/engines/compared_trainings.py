"""Train recipes for an epoch in a compiled engine and in `fit`, on a part of the data, and compare their weights."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nightune.models.data.dataset import Dataset
from nightune.models.data.few_rows import are_first, few_rows
from nightune.models.engines.make import make_engine, make_same_engine
from nightune.models.networks.architectures import reads_training_inputs
from nightune.models.recipe.recipe import Recipe
from nightune.models.techniques.stopping.settings import StoppingSettings
from nightune.models.training.compile_ahead import compile_ahead
from nightune.models.training.engine import CompilesAhead, Engine, EpochOutput
from nightune.models.training.loop import train
from nightune.models.training.plan import EpochPlan
from nightune.models.training.row_weights import weights_of_classes
from nightune.models.training.seeds import Seeds

COMPARED_EXAMPLES = 200
SHARED_EXAMPLES = 5_000  # of training and validation; with more, an engine of its own on a part is quicker


@dataclass(frozen=True)
class Trained:
    """How far the engines differ after a short training, relative to the distance moved, and the seconds of each."""

    difference: float
    fit_seconds: float
    compiled_seconds: float


def compared_trainings(
    engine: Engine, recipes: Sequence[Recipe], dataset: Dataset, folder: Path, is_ahead: bool
) -> list[Trained]:
    """Train each recipe for an epoch on a part of the data, in the engine and in `fit`.

    One engine trains all recipes, so that state kept from the first would show in the second. With `is_ahead` its
    program is compiled beside the training in `fit`, whose seconds then mean nothing.
    """
    validation = dataset.without_weights(dataset.validation)
    classes = weights_of_classes(dataset, (recipe.training for recipe in recipes))
    part = replace(dataset, train=few_rows(dataset, dataset.train, COMPARED_EXAMPLES, classes), validation=validation)
    are_few = len(dataset.train) + len(dataset.validation) <= SHARED_EXAMPLES
    # An engine of all rows takes the first ones, whatever they weigh, and counts weights of classes in all of them; its
    # models may be built by all of them, too.
    is_beginning = are_first(dataset, dataset.train, COMPARED_EXAMPLES, classes)
    reads_rows = any(
        recipe.training.has_class_weights or reads_training_inputs(recipe.architecture, folder) for recipe in recipes
    )
    if are_few and is_beginning and not reads_rows:
        compiled: Any = _InProgramsOfAll(engine, len(dataset.train))
    else:
        part = replace(part, validation=few_rows(dataset, validation, COMPARED_EXAMPLES))
        compiled = make_same_engine(engine, part, folder)
    if is_ahead:
        compile_ahead(compiled, recipes[0], part, 1)
    first, *others = recipes
    trained = [_compared(make_engine("fit", part, folder), compiled, first, part)]
    count = _whole_batches(others, len(part.train))
    if isinstance(compiled, _InProgramsOfAll) and are_first(dataset, dataset.train, count, classes):
        part = replace(part, train=part.train.part(slice(count)))
    reference = make_engine("fit", part, folder)
    return trained + [_compared(reference, compiled, recipe, part) for recipe in others]


def _whole_batches(recipes: Sequence[Recipe], rows: int) -> int:
    """Return how many of the rows make whole batches of one size, or all rows: a smaller last batch compiles in `fit`.

    The first recipe's training has one.
    """
    batches = {(recipe.batch_size.policy, recipe.batch_size.size) for recipe in recipes}
    if len(batches) != 1:
        return rows
    policy, size = batches.pop()
    return rows - rows % size if policy == "fixed" and size <= rows else rows


@dataclass(frozen=True)
class _InProgramsOfAll:
    """An engine of all examples that trains on the first of them, in the programs of its whole epochs."""

    engine: Engine
    examples: int

    def compile_ahead(self, recipe: Recipe, plan: EpochPlan) -> None:
        if isinstance(self.engine, CompilesAhead):
            self.engine.compile_ahead(recipe, replace(plan, room=self.examples))

    def run_epochs(self, state: Any, plans: Sequence[EpochPlan]) -> tuple[Any, list[EpochOutput]]:
        return self.engine.run_epochs(state, [replace(plan, room=self.examples) for plan in plans])

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)


def _compared(reference: Engine, compiled: Engine, recipe: Recipe, dataset: Dataset) -> Trained:
    start = _flat(reference.weights(reference.start(recipe, Seeds.from_trial(0))))
    began_at = time.perf_counter()
    expected = _flat(_end(reference, recipe, dataset))
    ended_at = time.perf_counter()
    compiling = _compilation_seconds(compiled)
    trained = _flat(_end(compiled, recipe, dataset))
    fit_seconds, compiled_seconds = ended_at - began_at, time.perf_counter() - ended_at
    compiled_seconds = max(compiled_seconds, _compilation_seconds(compiled) - compiling)  # also what was begun ahead
    distance = float(np.linalg.norm(expected - start))
    # If nothing was trained, that is no agreement.
    difference = float(np.linalg.norm(trained - expected)) / distance if distance else float("inf")
    return Trained(difference, fit_seconds, compiled_seconds)


def _compilation_seconds(engine: Any) -> float:
    """Return the seconds of what an engine has compiled. Not by a protocol: Python 3.12 sees no `__getattr__` there."""
    return engine.compilation.seconds if hasattr(engine, "compilation") else 0.0


def _end(engine: Engine, recipe: Recipe, dataset: Dataset) -> list[np.ndarray]:
    recipe = replace(recipe, stopping=StoppingSettings("none"))  # one epoch, and no rule that needs earlier trials
    if not recipe.training.second_phase:
        return train(engine, recipe, dataset, epochs=1, seed=0, monitor="val_loss", direction="minimize").weights
    # An epoch of each phase, and the weights after the second: the first may be better.
    recipe = replace(recipe, training=replace(recipe.training, unfreeze_at=2))
    outcome = train(engine, recipe, dataset, epochs=3, until=2, seed=0, monitor="val_loss", direction="minimize")
    return engine.weights(outcome.halted.state) if outcome.halted else outcome.weights


def _flat(weights: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([weight.astype(np.float64).ravel() for weight in weights])
