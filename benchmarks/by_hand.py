"""A trial written by hand with Keras, and its record in MLflow: shared by the naive loop and the other tuners."""

import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import keras

from nightune.models.data.dataset import Dataset
from nightune.models.engines.keras_parts.updates import decayed_weights
from nightune.models.networks.architectures import build_model
from nightune.models.recipe.params import read_recipe
from nightune.models.recipe.recipe import Recipe
from nightune.models.techniques.penalties.penalties import keras_strengths
from nightune.tasks.setting import Setting
from nightune.tasks.tracking.trials.trial_log import TrialLog
from nightune.tuning.trial import Status, Trial, TrialResult

Train = Callable[[keras.Model, Recipe, list[Any]], dict[str, list[float]]]  # with callbacks; returns the curves


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
    recipe, epochs = read_recipe(trial.params), setting.study.search.epochs
    train, validation = dataset.train, dataset.validation
    log = TrialLog(setting.store, setting.sweep, trial, {"nightune.engine": label}, setting.data)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        keep = keras.callbacks.ModelCheckpoint(path, monitor="val_loss", save_best_only=True)
        history = model.fit(
            train.inputs,
            train.targets,
            batch_size=recipe.batch_size.size,
            epochs=epochs,
            validation_data=(validation.inputs, validation.targets),
            callbacks=[keep, *callbacks],
            verbose=0,
        ).history
        for epoch in range(epochs):
            log.log_epoch(epoch + 1, {name: values[epoch] for name, values in history.items()})
        best = min(range(epochs), key=lambda epoch: history["val_loss"][epoch])
        seconds = time.perf_counter() - started_at
        objective = float(history["val_loss"][best])
        log.finish(
            TrialResult(trial, Status.COMPLETED, objective, best + 1, epochs, 0, epochs * len(train), seconds), path
        )
    return objective


def compiled_model(recipe: Recipe, dataset: Dataset, setting: Setting) -> keras.Model:
    """The study's model with Keras' own regularizer, schedule and decay."""
    model = build_model(
        recipe.architecture,
        recipe.model,
        dataset.input_shape,
        dataset.output_size,
        folder=setting.study.path.parent,
        seed=0,
    )
    if recipe.penalty.kind != "none":
        strengths = keras_strengths(recipe.penalty, dataset.task)
        for weight in decayed_weights(model):
            weight.regularizer = keras.regularizers.L1L2(strengths.l1, strengths.l2)
    model.compile(
        keras_optimizer(recipe, setting.study.search.epochs, len(dataset.train)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def keras_optimizer(recipe: Recipe, epochs: int, examples: int) -> Any:
    """Keras' optimizer with its own schedule and decay."""
    from keras import optimizers

    settings, rate = recipe.optimizer, recipe.learning_rate
    updates = epochs * -(-examples // recipe.batch_size.size)
    schedule: Any = {
        "fixed": lambda: rate.peak,
        "exponential": lambda: optimizers.schedules.ExponentialDecay(rate.peak, updates, rate.final_fraction),
        "cosine": lambda: optimizers.schedules.CosineDecay(rate.peak, updates, rate.final_fraction),
    }[rate.schedule]()
    decay = None if recipe.weight_decay.profile == "none" else recipe.weight_decay.strength
    arguments: dict[str, Any] = {"learning_rate": schedule, "weight_decay": decay}
    if settings.kind in ("sgd", "rmsprop"):
        arguments["momentum"] = settings.momentum
    names = {"sgd": "SGD", "adam": "Adam", "adamw": "Adam", "rmsprop": "RMSprop"}
    return getattr(optimizers, names[settings.kind])(**arguments)
