"""Evaluation weights of optimizers that train other weights: averages, and x of the schedule-free method."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from nightune.models.engines.keras_parts.mixed_precision import unscaled_optimizer

EFFECTIVE_RATE = "effective_learning_rate"  # of the last update, for optimizers that adapt it themselves


@contextmanager
def evaluated(model: keras.Model) -> Iterator[None]:
    """Put the optimizer's `evaluation_values` into the model for the duration of the block.

    The moving statistics of batch normalization stay as training left them.
    """
    values = _evaluation_values(unscaled_optimizer(model.optimizer))
    if values is None:
        yield
        return
    trained = [np.array(variable.numpy()) for variable in model.trainable_variables]
    _assign(model, values)
    try:
        yield
    finally:
        _assign(model, trained)


def effective_rates(optimizer: Any) -> dict[str, float]:
    """Return the learning rate that the optimizer adapted, by the name of its curve; empty for other optimizers."""
    rate = getattr(optimizer, "effective_rate", None)
    return {} if rate is None else {EFFECTIVE_RATE: float(keras.ops.convert_to_numpy(rate.value))}


def _evaluation_values(optimizer: Any) -> list[Any] | None:
    if not hasattr(optimizer, "evaluation_values"):
        return None
    return [keras.ops.convert_to_numpy(value) for value in optimizer.evaluation_values()]


def _assign(model: keras.Model, values: list[Any]) -> None:
    for variable, value in zip(model.trainable_variables, values, strict=True):
        variable.assign(value)
