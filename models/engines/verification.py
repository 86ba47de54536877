"""Check whether a compiled engine can train some recipes: unsupported ones are refused, then two trials are compared.

The two differ in their numbers: with one trial, a hyperparameter that a program holds as a constant would pass.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import keras

from nightune.models.data.dataset import Dataset
from nightune.models.engines.compared_trainings import Trained, compared_trainings
from nightune.models.engines.costs import COUNTED_RECIPES, PlannedWork, Seconds, cheaper_in_fit
from nightune.models.engines.make import make_engine
from nightune.models.engines.refusals import TRIED_MODELS, refusals_of_sample
from nightune.models.error_causes import cause_of
from nightune.models.errors import InputError
from nightune.models.networks.architectures import ARCHITECTURES
from nightune.models.networks.embedding_ids import UnknownIdError
from nightune.models.recipe.recipe import Recipe
from nightune.models.techniques.precision import PrecisionSettings
from nightune.models.training.engine import COMPILED_ENGINES, Compiles, Engine
from nightune.models.training.graph_key import perturbed
from nightune.models.training.model_key import model_key
from nightune.models.training.seeds import Seeds

TOLERANCE = 1e-3  # relative to the distance that the weights moved
MIXED_TOLERANCE = 0.02  # in bfloat16, with a precision of 8 bits, engines round in different places
FEW_PROGRAMS = 4  # of the recipes: what more of them cost is measured, one after the other (docs/decisions/0064)


@dataclass(frozen=True)
class Comparison:
    """The compiled engine, and either the reason against it or how well it agrees with `fit`.

    `cost`: why `fit` takes less time all the same; None if it does not, or if the planned work is not known. With
    `is_broken` the comparison raised an error, which may be the model's own.
    """

    engine: str
    refusal: str | None = None
    agreement: str = ""
    cost: str | None = None
    is_broken: bool = False


@dataclass(frozen=True)
class _Checked:
    """The trainings of a pair of recipes, and their tolerance."""

    pair: Sequence[Recipe]
    trained: Sequence[Trained]
    tolerance: float

    @property
    def difference(self) -> float:
        return max(each.difference for each in self.trained)


def refusals_of_compiled(recipes: Sequence[Recipe], dataset: Dataset, folder: Path) -> tuple[str, list[str]]:
    """Return the backend's compiled engine, and its reasons against the recipes as they show without training."""
    engine, refusals, _ = _asked(recipes, lambda name: make_engine(name, dataset, folder))
    return engine, refusals


def compare_engines(
    recipes: Sequence[Recipe],
    dataset: Dataset,
    folder: Path,
    make: Callable[[str], Engine] | None = None,
    work: PlannedWork | None = None,
    known: str = "",
) -> Comparison:
    """Check that the backend's compiled engine supports the recipes, and trains two of them as `fit` does.

    `make` returns the engine of a name for the whole data set, which is checked itself if the data are few. With
    planned `work` the costs are compared as well. A `known` agreement of the same check stands for both.
    """
    engine = COMPILED_ENGINES.get(keras.backend.backend(), "")
    try:
        rules = frozenset(filter(None, (recipe.optimizer.shared_rule for recipe in recipes)))
        alone = partial(make_engine, dataset=dataset, folder=folder, rules=rules)
        _, refusals, compiled = _asked(recipes, make or alone)
        if compiled is None or refusals:
            return Comparison(engine, "; ".join(refusals))
        if known:
            return Comparison(engine, agreement=known)
        found = _compare_first_buildable(compiled, recipes, dataset, folder)
        if apart := next((each for each in found if not each.difference <= each.tolerance), None):
            by = f"by {apart.difference:.1g} relative to the distance moved (at most {apart.tolerance:g})"
            return Comparison(engine, f"its weights differ from fit's {by}")
        cost = cheaper_in_fit(compiled, recipes, dataset, folder, work, _seconds(found[0])) if work else None
    except (MemoryError, OSError):
        raise
    except Exception as error:  # a user's model may raise anything; its trials will report it
        return Comparison(engine, f"two trials could not be compared: {cause_of(error)}", is_broken=True)
    worst = max(each.difference for each in found)
    agreement = f"weights match fit's within {worst:.1g} (relative to the distance moved)"
    return Comparison(engine, agreement=agreement, cost=cost)


def _seconds(checked: _Checked) -> Seconds:
    """Return the seconds of the first training of a program, and of the next one in either engine."""
    first, following = checked.trained[0], checked.trained[-1]
    return Seconds(first.compiled_seconds, following.compiled_seconds, following.fit_seconds)


def _compare_first_buildable(
    engine: Engine, recipes: Sequence[Recipe], dataset: Dataset, folder: Path
) -> list[_Checked]:
    """Return each check of the richest recipe whose model can be built.

    A model that cannot be built costs its own trials, not all others the compiled engine. Raise the first InputError if
    none of the first models can be built.
    """
    errors: dict[str, InputError] = {}
    for recipe in sorted(recipes, key=_used_numbers, reverse=True):
        key = model_key(recipe, "")
        if key in errors:
            continue
        try:
            checks = _checks([recipe, _with_other_rates(perturbed(recipe), recipes, engine)])
            is_ahead = isinstance(engine, Compiles) and engine.program_count(recipes[:COUNTED_RECIPES]) <= FEW_PROGRAMS
            return [
                _Checked(pair, compared_trainings(engine, pair, dataset, folder, is_ahead), most)
                for pair, most in checks
            ]
        except InputError as error:
            errors[key] = error
        if len(errors) == TRIED_MODELS:
            break
    raise next(iter(errors.values()))


def _with_other_rates(recipe: Recipe, recipes: Sequence[Recipe], engine: Any) -> Recipe:
    """Give a user's model the dropout rates of other trials, as far as the engine holds them as data.

    `perturbed` cannot: which parameters are rates shows only in the models that they build.
    """
    for name, value in recipe.model.items():
        others = [each.model.get(name) for each in recipes if each.architecture == recipe.architecture]
        other = next((each for each in others if isinstance(each, float) and each != value), None)
        if isinstance(value, float) and other is not None:
            changed = replace(recipe, model={**recipe.model, name: other})
            with suppress(InputError):  # another mixture of trials' parameters, of which no model may be possible
                recipe = changed if engine.shares_program(recipe, changed) else recipe
    return recipe


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
    return name, refusals_of_sample(engine, recipes), engine


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
        recipe.training.second_phase != 0,
    )
    return sum(has)
