"""The weights that are measured and kept, where an optimizer trains others: averages, and schedule-free's x."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from nightune.models.engines.keras_parts.mixed_precision import rule_of

EFFECTIVE_RATE = "effective_learning_rate"  # of the last update, where the optimizer finds it itself


@contextmanager
def evaluated(model: keras.Model) -> Iterator[None]:
    """Put the optimizer's `evaluation_values` into the model while one predicts or reads its weights.

    Moving statistics of batch normalization stay those that the trained weights left.
    """
    values = _evaluation_values(rule_of(model.optimizer))
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
    """Return the rate that the optimizer found under its name among the curves; empty where it does not."""
    rate = getattr(optimizer, "effective_rate", None)
    return {} if rate is None else {EFFECTIVE_RATE: float(keras.ops.convert_to_numpy(rate.value))}


def _evaluation_values(optimizer: Any) -> list[Any] | None:
    if not hasattr(optimizer, "evaluation_values"):
        return None
    return [keras.ops.convert_to_numpy(value) for value in optimizer.evaluation_values()]


def _assign(model: keras.Model, values: list[Any]) -> None:
    for variable, value in zip(model.trainable_variables, values, strict=True):
        variable.assign(value)
