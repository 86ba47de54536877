"""Shared by the tests of the article's rows: its code run verbatim, and short trainings with Keras and with ours."""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from nightune.models.data.dataset import Dataset
from nightune.models.engines.fit.engine import FitEngine
from nightune.models.recipe.recipe import Recipe
from nightune.models.techniques.optimizers.optimizers import OptimizerSettings, build_optimizer
from nightune.models.training.loop import Outcome
from nightune.models.training.loop import train as train_loop


def run(code: str, **names: Any) -> dict[str, Any]:
    """Execute code of the article with these names defined."""
    exec(compile(code, "article", "exec"), names)
    return names


def outcome(recipe: Recipe, dataset: Dataset, epochs: int = 4, monitor: str = "val_loss") -> Outcome:
    engine = FitEngine(dataset, Path())
    return train_loop(engine, recipe, dataset, epochs=epochs, seed=1, monitor=monitor, direction="minimize")


def fitted(callback: Any, epochs: int = 3, has_validation: bool = True, **compiled: Any) -> Any:
    """Fit a tiny regression with Keras' own `fit` and a callback; return the history."""
    keras.utils.set_random_seed(0)
    inputs = np.random.default_rng(0).normal(size=(16, 2)).astype(np.float32)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(**{"optimizer": keras.optimizers.SGD(0.05), "loss": "mse", **compiled})
    split = {"validation_data": (inputs, inputs[:, 0])} if has_validation else {}
    return model.fit(inputs, inputs[:, 0], epochs=epochs, verbose=0, callbacks=[callback], batch_size=4, **split)


def first_step(kind: str, gradient: float, **settings: Any) -> float:
    """Return how far the first update moves a weight of 1 at a rate of 0.1."""
    optimizer = build_optimizer(OptimizerSettings(kind, **settings))
    weight = keras.Variable(1.0)
    optimizer.build([weight])
    optimizer.learning_rate = 0.1
    optimizer.apply([keras.ops.convert_to_tensor(gradient)], [weight])
    return float(np.array(weight)) - 1.0


def returns_its_best_epoch(trained: Outcome) -> None:
    assert trained.objective == min(trained.curves["val_loss"])
    assert trained.curves["val_loss"][trained.best_epoch - 1] == trained.objective
