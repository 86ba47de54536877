"""A trial written by hand with Keras, and its record in MLflow: shared by the naive loop and the other tuners."""

import math
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import keras
from keras.optimizers import schedules

from nightune.models.data.dataset import Dataset
from nightune.models.engines.keras_parts.updates import decayed_weights
from nightune.models.networks import architectures
from nightune.models.recipe.params import read_recipe
from nightune.models.recipe.recipe import Recipe
from nightune.models.techniques.learning_rates.learning_rates import LearningRateSettings
from nightune.models.techniques.penalties.penalties import keras_strengths
from nightune.models.user_code import is_reference, load_function
from nightune.tasks.setting import Setting
from nightune.tasks.tracking.trials.trial_log import TrialLog
from nightune.tuning.trial import Status, Trial, TrialResult


def train_by_hand(setting: Setting, dataset: Dataset, trial: Trial, label: str) -> float:
    """Build, compile, fit and log one trial; return its objective."""
    recipe, started_at = read_recipe(trial.params), time.perf_counter()
    keras.utils.set_random_seed(trial.seed)
    model = compiled_model(recipe, dataset, setting)
    return fit_and_log(setting, dataset, trial, label, (model, started_at, []))


def fit_and_log(
    setting: Setting, dataset: Dataset, trial: Trial, label: str, begun: tuple[keras.Model, float, Iterable[Any]]
) -> float:
    """Fit a compiled model with more callbacks, and log params, curves and the best epoch's checkpoint."""
    model, started_at, callbacks = begun
    recipe, objective = read_recipe(trial.params), setting.study.objective
    train, validation = dataset.train, dataset.validation
    log = TrialLog(setting.store, setting.sweep, trial, {"nightune.engine": label}, setting.data)
    monitored = {"monitor": objective.metric, "mode": "max" if objective.direction == "maximize" else "min"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        keep = keras.callbacks.ModelCheckpoint(path, save_best_only=True, **monitored)
        history = model.fit(
            train.inputs,
            train.targets,
            batch_size=recipe.batch_size.size,
            epochs=setting.study.search.epochs,
            validation_data=(validation.inputs, validation.targets),
            callbacks=[keep, *_rules(recipe, monitored), *callbacks],
            verbose=0,
        ).history
        values = history[objective.metric]
        for epoch in range(len(values)):
            log.log_epoch(epoch + 1, {name: float(curve[epoch]) for name, curve in history.items()})
        best = float(max(values) if monitored["mode"] == "max" else min(values))
        seconds, epochs = time.perf_counter() - started_at, len(values)
        log.finish(
            TrialResult(trial, Status.COMPLETED, best, values.index(best) + 1, epochs, 0, epochs * len(train), seconds),
            path,
        )
    return best


def _rules(recipe: Recipe, monitored: dict[str, Any]) -> list[Any]:
    """Keras' own early stopping and plateaus, where the study has them."""
    rules: list[Any] = []
    if recipe.stopping.rule == "patience":
        rules.append(keras.callbacks.EarlyStopping(patience=recipe.stopping.patience, **monitored))
    if recipe.learning_rate.schedule == "plateau":
        rate = recipe.learning_rate
        rules.append(keras.callbacks.ReduceLROnPlateau(factor=rate.plateau_factor, patience=rate.plateau_patience))
    return rules


def compiled_model(recipe: Recipe, dataset: Dataset, setting: Setting) -> keras.Model:
    """The study's model as its function returns it, with Keras' own regularizer, loss, schedule and decay."""
    name, folder = recipe.architecture, setting.study.path.parent
    build: Callable[..., keras.Model] = (
        load_function(name, folder, "model.architecture") if is_reference(name) else getattr(architectures, name)
    )
    model = build(dataset.input_shape, dataset.output_size, **recipe.model)
    if recipe.penalty.kind != "none":
        strengths = keras_strengths(recipe.penalty, dataset.task)
        for weight in decayed_weights(model):
            weight.regularizer = keras.regularizers.L1L2(strengths.l1, strengths.l2)
    loss, metric = _loss(model, dataset)
    model.compile(keras_optimizer(recipe, setting.study.search.epochs, len(dataset.train)), loss, metrics=[metric])
    return model


def _loss(model: keras.Model, dataset: Dataset) -> tuple[Any, str]:
    """The loss that fits the model's last activation, and the metric beside it."""
    if dataset.task == "regression":
        return keras.losses.MeanSquaredError(), "mae"
    is_logits = model.layers[-1].activation is keras.activations.linear
    if model.output_shape[-1] == 1:
        return keras.losses.BinaryCrossentropy(from_logits=is_logits), "accuracy"
    return keras.losses.SparseCategoricalCrossentropy(from_logits=is_logits), "accuracy"


def keras_optimizer(recipe: Recipe, epochs: int, examples: int) -> Any:
    """Keras' optimizer with its own schedule and decay; decays that follow a profile are constant."""
    settings, updates = recipe.optimizer, epochs * -(-examples // recipe.batch_size.size)
    decay = None if recipe.weight_decay.profile == "none" else recipe.weight_decay.strength
    arguments: dict[str, Any] = {"learning_rate": _rate(recipe.learning_rate, updates), "weight_decay": decay}
    if settings.kind in ("sgd", "rmsprop"):
        arguments["momentum"] = settings.momentum
    if settings.kind == "sgd":
        arguments["nesterov"] = settings.nesterov
    names = {"sgd": "SGD", "adam": "Adam", "adamw": "Adam", "rmsprop": "RMSprop"}
    return getattr(keras.optimizers, names[settings.kind])(**arguments)


def _rate(rate: LearningRateSettings, updates: int) -> Any:
    """Keras' own schedule; with a warm-up, a class of the user's own."""
    warmup = round(rate.warmup_fraction * updates)
    if rate.schedule == "step":
        shares = [rate.step_first + (1.0 - rate.step_first) * (1.0 - (1.0 - rate.step_gap) ** n) for n in range(9)]
        milestones = [math.ceil(share * updates) for share in shares[: rate.step_count]]
        values = [rate.peak * rate.step_factor**number for number in range(rate.step_count + 1)]
        after: Any = schedules.PiecewiseConstantDecay(milestones, values)
    elif rate.schedule == "exponential":
        after = schedules.ExponentialDecay(rate.peak, updates, rate.final_fraction)
    elif rate.schedule == "cosine":
        after = schedules.CosineDecay(rate.peak, updates, rate.final_fraction)
    else:
        after = rate.peak
    return WarmUp(after, warmup) if warmup and rate.schedule != "plateau" else after


@keras.saving.register_keras_serializable("benchmarks")
class WarmUp(schedules.LearningRateSchedule):  # type: ignore[misc]
    """A schedule, or a constant, that begins with a linear warm-up of so many updates."""

    def __init__(self, after: Any, updates: int) -> None:
        self.after, self.updates = after, updates

    def __call__(self, step: Any) -> Any:
        """Return the learning rate of an update."""
        rate = self.after(step) if callable(self.after) else self.after
        share = keras.ops.minimum(1.0, (keras.ops.cast(step, "float32") + 1.0) / self.updates)
        return rate * share

    def get_config(self) -> dict[str, Any]:
        """Return what a checkpoint of the model needs."""
        return {"after": self.after, "updates": self.updates}
