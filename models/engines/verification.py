"""Check whether a compiled engine can train some recipes: unsupported ones are refused, then two trials are compared.

The two differ in their numbers: with one trial, a hyperparameter that a program holds as a constant would pass.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from nightune.models.data.dataset import Dataset
from nightune.models.engines.make import make_engine
from nightune.models.error_causes import cause_of
from nightune.models.errors import InputError
from nightune.models.networks.architectures import ARCHITECTURES, reads_training_inputs
from nightune.models.networks.embedding_ids import UnknownIdError
from nightune.models.recipe.recipe import Recipe
from nightune.models.techniques.precision import PrecisionSettings
from nightune.models.techniques.stopping.settings import StoppingSettings
from nightune.models.training.capabilities import only_in_fit
from nightune.models.training.engine import COMPILED_ENGINES, Engine, EpochOutput
from nightune.models.training.graph_key import perturbed
from nightune.models.training.loop import train
from nightune.models.training.model_key import model_key
from nightune.models.training.plan import EpochPlan
from nightune.models.training.seeds import Seeds

TOLERANCE = 1e-3  # relative to the distance that the weights moved
MIXED_TOLERANCE = 0.02  # in bfloat16, with a precision of 8 bits, engines round in different places
COMPARED_EXAMPLES = 200
SHARED_EXAMPLES = 5_000  # of training and validation; with more, an engine of its own on a part is quicker
TRIED_MODELS = 8  # that cannot be built or lack rows for ids, before all are taken to be so


@dataclass(frozen=True)
class Comparison:
    """The compiled engine, and either the reason against it or how well it agrees with `fit`."""

    engine: str
    refusal: str | None = None
    agreement: str = ""


def refusals_of_compiled(recipes: Sequence[Recipe], dataset: Dataset, folder: Path) -> tuple[str, list[str]]:
    """Return the backend's compiled engine, and its reasons against the recipes as they show without training."""
    engine, refusals, _ = _asked(recipes, lambda name: make_engine(name, dataset, folder))
    return engine, refusals


def compare_engines(
    recipes: Sequence[Recipe], dataset: Dataset, folder: Path, make: Callable[[str], Engine] | None = None
) -> Comparison:
    """Check that the backend's compiled engine supports the recipes, and trains two of them as `fit` does.

    `make` returns the engine of a name for the whole data set, which is checked itself if the data are few.
    """
    engine = COMPILED_ENGINES.get(keras.backend.backend(), "")
    try:
        _, refusals, compiled = _asked(recipes, make or (lambda name: make_engine(name, dataset, folder)))
        if compiled is None or refusals:
            return Comparison(engine, "; ".join(refusals))
        found = _compare_first_buildable(compiled, recipes, dataset, folder)
    except (MemoryError, OSError):
        raise
    except Exception as error:  # a user's model may raise anything; its trials will report it
        return Comparison(engine, f"two trials could not be compared: {cause_of(error)}")
    for apart, most in found:
        if not apart <= most:
            found_apart = f"by {apart:.1g} relative to the distance moved (at most {most:g})"
            return Comparison(engine, f"its weights differ from fit's {found_apart}")
    worst = max(apart for apart, _ in found)
    return Comparison(engine, agreement=f"weights match fit's within {worst:.1g} (relative to the distance moved)")


def _compare_first_buildable(
    engine: Engine, recipes: Sequence[Recipe], dataset: Dataset, folder: Path
) -> list[tuple[float, float]]:
    """Return distance and tolerance of each check, for the richest recipe whose model can be built.

    A model that cannot be built costs its own trials, not all others the compiled engine. Raise the first InputError if
    none of the first models can be built.
    """
    errors: dict[str, InputError] = {}
    for recipe in sorted(recipes, key=_used_numbers, reverse=True):
        key = model_key(recipe, "")
        if key in errors:
            continue
        try:
            checks = _checks([recipe, perturbed(recipe)])
            return [(max(_differences(engine, pair, dataset, folder)), most) for pair, most in checks]
        except InputError as error:
            errors[key] = error
        if len(errors) == TRIED_MODELS:
            break
    raise next(iter(errors.values()))


def refuse_unknown_ids(recipes: Sequence[Recipe], dataset: Dataset, folder: Path) -> None:
    """Raise an InputError if the embeddings of all these models lack ids of the data: no trial could be trained.

    If only some models do, their trials fail. Other faults of models are left for the trials to report.
    """
    own = {model_key(recipe, ""): recipe for recipe in recipes if recipe.architecture not in ARCHITECTURES}
    engine, refusal = make_engine("fit", dataset, folder), None
    for recipe in list(own.values())[:TRIED_MODELS]:
        try:
            engine.start(recipe, Seeds.from_trial(0))
        except UnknownIdError as error:
            refusal = refusal or error
        except Exception:  # a user's model may raise anything; its trials will report it
            return
        else:
            return
    if refusal is not None:
        raise refusal


def _asked(recipes: Sequence[Recipe], make: Callable[[str], Engine]) -> tuple[str, list[str], Engine | None]:
    """Return the name of the backend's compiled engine, its reasons against the recipes, and the engine."""
    backend = keras.backend.backend()
    name = COMPILED_ENGINES.get(backend)
    if name is None:
        return "", [f"there is no compiled engine for Keras' backend {backend}"], None
    if not recipes:
        return name, ["there is no recipe to compare with fit"], None
    engine = make(name)
    return name, _refusals(engine, recipes), engine


def _refusals(engine: Any, recipes: Sequence[Recipe]) -> list[str]:
    """Return the engine's reasons against one recipe per architecture, batch policy and technique that only fit has."""
    kinds: dict[tuple[object, ...], dict[str, Recipe]] = {}
    for recipe in recipes:
        policy = recipe.batch_size.policy, recipe.batch_size.micro_size > 0
        kind = (recipe.architecture, *policy, *only_in_fit(recipe))
        kinds.setdefault(kind, {})[model_key(recipe, "")] = recipe
    return list(dict.fromkeys(reason for models in kinds.values() for reason in _first_refusals(engine, models)))


def _first_refusals(engine: Any, models: Mapping[str, Recipe]) -> list[str]:
    """Return the reasons against the first model that can be built; none if the first ones cannot."""
    for recipe in list(models.values())[:TRIED_MODELS]:
        with suppress(InputError):  # its own trials report it
            reasons: list[str] = engine.refusals(recipe)
            return reasons
    return []


def _checks(pair: Sequence[Recipe]) -> list[tuple[Sequence[Recipe], float]]:
    """Return the pair with its tolerance; for mixed precision also in float32, which hides less behind rounding."""
    if not pair[0].precision.is_mixed:
        return [(pair, TOLERANCE)]
    return [(pair, MIXED_TOLERANCE), ([replace(recipe, precision=PrecisionSettings()) for recipe in pair], TOLERANCE)]


def _used_numbers(recipe: Recipe) -> int:
    """Count the hyperparameters that are data in a program."""
    has = (
        recipe.model.get("dropout", 0.0) != 0.0,
        recipe.optimizer.momentum != 0.0,
        recipe.penalty.kind != "none",
        recipe.penalty.label_smoothing != 0.0,
        recipe.training.has_class_weights,
        recipe.weight_decay.profile != "none",
        recipe.precision.is_mixed,
        recipe.optimizer.weight_average_kind != "none",
        recipe.learning_rate.hypergradient_strength != 0.0,
        recipe.learning_rate.cycles_momentum,
    )
    return sum(has)


def _differences(engine: Engine, recipes: Sequence[Recipe], dataset: Dataset, folder: Path) -> list[float]:
    """Return how far the engine and `fit` differ after an epoch on a part of the data, relative to the distance moved.

    One engine trains all recipes, so that state kept from the first would show in the second.
    """
    validation = replace(dataset.validation, weights=None)  # those of the first rows may all be 0
    part = replace(dataset, train=dataset.train.weighing(COMPARED_EXAMPLES), validation=validation)
    are_few = len(dataset.train) + len(dataset.validation) <= SHARED_EXAMPLES
    # An engine of all rows takes the first ones, whatever they weigh, and counts weights of classes in all of them; its
    # models may be built by all of them, too.
    weights = dataset.train.weights
    are_first = weights is None or bool(weights[:COMPARED_EXAMPLES].all())
    reads_rows = any(
        recipe.training.has_class_weights or reads_training_inputs(recipe.architecture, folder) for recipe in recipes
    )
    if are_few and are_first and not reads_rows:
        compiled: Any = _InProgramsOfAll(engine, len(dataset.train))
    else:
        part = replace(part, validation=validation.part(slice(COMPARED_EXAMPLES)))
        compiled = make_engine(engine.name, part, folder)
    reference = make_engine("fit", part, folder)
    return [_difference(reference, compiled, recipe, part) for recipe in recipes]


@dataclass(frozen=True)
class _InProgramsOfAll:
    """An engine of all examples that trains on the first of them, in the programs of its whole epochs."""

    engine: Engine
    examples: int

    def run_epochs(self, state: Any, plans: Sequence[EpochPlan]) -> tuple[Any, list[EpochOutput]]:
        return self.engine.run_epochs(state, [replace(plan, room=self.examples) for plan in plans])

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)


def _difference(reference: Engine, compiled: Engine, recipe: Recipe, dataset: Dataset) -> float:
    start = _flat(reference.weights(reference.start(recipe, Seeds.from_trial(0))))
    expected, trained = (_flat(_end(engine, recipe, dataset)) for engine in (reference, compiled))
    distance = float(np.linalg.norm(expected - start))
    if distance == 0.0:  # nothing was trained: that is no agreement
        return float("inf")
    return float(np.linalg.norm(trained - expected)) / distance


def _end(engine: Engine, recipe: Recipe, dataset: Dataset) -> list[np.ndarray]:
    recipe = replace(recipe, stopping=StoppingSettings("none"))  # one epoch, and no rule that needs earlier trials
    outcome = train(engine, recipe, dataset, epochs=1, seed=0, monitor="val_loss", direction="minimize")
    return outcome.weights


def _flat(weights: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([weight.astype(np.float64).ravel() for weight in weights])
