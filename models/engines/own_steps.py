"""Try models with code of their own on a few rows before the first trial."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from nightune.models.data.dataset import Dataset
from nightune.models.data.few_rows import few_rows
from nightune.models.engines.fit.engine import FitEngine
from nightune.models.engines.keras_parts.mixed_precision import unscaled_optimizer
from nightune.models.engines.refusals import TRIED_MODELS
from nightune.models.error_causes import described, eager_remedy
from nightune.models.errors import InputError
from nightune.models.library_internals.models import all_layers
from nightune.models.networks.architectures import ARCHITECTURES
from nightune.models.networks.own_methods import TRAINING, own_methods
from nightune.models.networks.training_rows import TrainingRows
from nightune.models.networks.weighted_models import ignores_loss
from nightune.models.recipe.recipe import Recipe
from nightune.models.techniques.losses import AUTO
from nightune.models.techniques.penalties.penalties import PenaltySettings
from nightune.models.techniques.stopping.settings import StoppingSettings
from nightune.models.training.loop import Outcome, train
from nightune.models.training.model_key import model_key
from nightune.models.training.row_weights import is_in_loss, weights_of_classes
from nightune.models.training.seeds import Seeds
from nightune.vocabulary import ARCHITECTURE

ROWS = 64
_USE_COMPUTE_LOSS = "compute it by self.compute_loss(x=x, y=y, y_pred=y_pred), or remove the key"


def refuse_unusable_step(recipe: Recipe, dataset: Dataset, folder: Path) -> None:
    """Train an epoch of a few rows with a model's own step; without one, do nothing.

    InputError if the step raises, returns no loss, leaves out the study's optimizer, loss or penalty, or makes
    variables while it trains. `folder` is the study's.
    """
    part = _few_rows(recipe, dataset)
    recipe = replace(recipe, stopping=StoppingSettings("none"))
    engine = FitEngine(part, folder)
    started = engine.start(recipe, Seeds.from_trial(0))
    own = own_methods(started.model, TRAINING)
    if not own:
        return
    _refuse_more_optimizers(started.model)
    _refuse_unbuilt_layers(started.model)
    known = {variable.path for variable in started.model.variables}
    outcome = _trained(engine, recipe, part, folder, own)
    if outcome.halted is None:
        raise InputError(ARCHITECTURE, f"the model's own {' and '.join(own)}: {outcome.message}")
    model = outcome.halted.state.model
    new = [variable.path for variable in model.variables if variable.path not in known]
    if new:
        problem = f"the model makes variables while it trains ({', '.join(new)})"
        raise InputError(ARCHITECTURE, f"{problem}; make and build its layers and variables in __init__")
    if not int(unscaled_optimizer(model.optimizer).iterations):
        remedy = "update by self.optimizer.apply(gradients, self.trainable_variables)"
        raise InputError(ARCHITECTURE, f"the model's {own[0]} does not use self.optimizer, the study's; {remedy}")
    for key, remedy, without in _plainer(recipe, dataset):
        if key == "training.loss" and engine.head(recipe).parameters:  # which no other loss of the study reads
            model = engine.start(recipe, Seeds.from_trial(0)).model
            is_ignored = ignores_loss(model, engine.head(recipe), TrainingRows.of(part))
        else:
            plain = _trained(engine, without, part, folder, own).weights
            is_ignored = all(np.array_equal(one, other) for one, other in zip(outcome.weights, plain, strict=True))
        if is_ignored:
            raise InputError(key, f"it has no effect on the model's own {' and '.join(own)}; {remedy}")


def refuse_untrainable(recipe: Recipe, dataset: Dataset, folder: Path) -> None:
    """Train an epoch of a few rows; InputError with the line if the model's code raises while it trains.

    A model may be built and predict, and still raise there: `call` with `training=True` may return something else.
    """
    part = _few_rows(recipe, dataset)
    _trained(FitEngine(part, folder), replace(recipe, stopping=StoppingSettings("none")), part, folder, [])


def refuse_untrainable_models(recipes: Sequence[Recipe], dataset: Dataset, folder: Path) -> None:
    """Raise an InputError if `fit` can train none of the first models of users' functions: no trial could be trained.

    If only some models fail, their trials report it.
    """
    own = {model_key(recipe, ""): recipe for recipe in recipes}
    if any(recipe.architecture in ARCHITECTURES for recipe in own.values()):
        return
    errors = []
    for recipe in list(own.values())[:TRIED_MODELS]:
        try:
            refuse_untrainable(recipe, dataset, folder)
        except InputError as error:
            errors.append(error)
        else:
            return
    if errors:
        raise errors[0]


def _few_rows(recipe: Recipe, dataset: Dataset) -> Dataset:
    validation = few_rows(dataset, dataset.without_weights(dataset.validation), ROWS)
    classes = weights_of_classes(dataset, [recipe.training])
    return replace(dataset, train=few_rows(dataset, dataset.train, ROWS, classes), validation=validation)


def _trained(engine: FitEngine, recipe: Recipe, part: Dataset, folder: Path, own: list[str]) -> Outcome:
    try:
        return train(engine, recipe, part, epochs=2, until=1, seed=0, monitor="val_loss", direction="minimize")
    except (InputError, MemoryError):
        raise
    except Exception as error:
        raised = described(error, (folder / recipe.architecture.rpartition(":")[0]).parent)
        what = f"the model's own {' and '.join(own)}" if own else "the model, while it trains,"
        raise InputError(ARCHITECTURE, f"{what} raised {raised}{eager_remedy(error)}") from error


def _refuse_more_optimizers(model: Any) -> None:
    kinds = (keras.optimizers.Optimizer,)
    more = [name for name, value in vars(model).items() if isinstance(value, kinds) and value is not model.optimizer]
    if more:
        remedy = "use self.optimizer for all weights, with one loss that is the sum of theirs"
        problem = f"the model has more optimizers than the study's ({', '.join(more)}), whose rates no study can set"
        raise InputError(ARCHITECTURE, f"{problem}; {remedy}")


def _refuse_unbuilt_layers(model: Any) -> None:
    """Their weights would appear while the model trains, after the optimizer and the snapshots know all weights."""
    unbuilt = {id(layer): layer.name for layer in all_layers(model) if not layer.built}
    named = [name for name, value in vars(model).items() if id(value) in unbuilt] or list(unbuilt.values())
    if unbuilt:
        problem = f"call does not use all layers of the model ({', '.join(named)}), so that they have no weights yet"
        remedy = f"build them in __init__, such as self.{named[0]}.build((None, …)) with the size of its inputs"
        raise InputError(ARCHITECTURE, f"{problem}; {remedy}, or use them in call")


def _plainer(recipe: Recipe, dataset: Dataset) -> Iterator[tuple[str, str, Recipe]]:
    """Yield each part of a recipe that a step may leave out: its key, the remedy, and the recipe without it."""
    penalty = recipe.penalty
    if penalty.label_smoothing:
        without = replace(recipe, penalty=replace(penalty, label_smoothing=0.0))
        yield "penalty.label_smoothing", _USE_COMPUTE_LOSS, without
    if penalty.kind not in ("none", "l1_proximal"):
        without = replace(recipe, penalty=PenaltySettings(label_smoothing=penalty.label_smoothing))
        yield "penalty.kind", "add sum(self.losses) to its loss, or remove the key", without
    stated = recipe.training
    if stated.has_class_weights and is_in_loss(dataset):
        table = {str(label): 0.3 + place for place, label in enumerate(dataset.classes or ())}
        yield "training.class_weight", _USE_COMPUTE_LOSS, replace(recipe, training=replace(stated, class_weight=table))
    if stated.quantiles is not None and not isinstance(stated.quantiles, Mapping):
        other = replace(stated, quantiles=[level / 2 for level in stated.quantiles])
        yield "training.loss", _USE_COMPUTE_LOSS, replace(recipe, training=other)
    elif stated.loss != AUTO:
        yield "training.loss", _USE_COMPUTE_LOSS, replace(recipe, training=replace(stated, loss=AUTO))
