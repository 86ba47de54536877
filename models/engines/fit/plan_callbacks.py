"""Callbacks of `model.fit` that carry out a plan, update by update."""

from collections.abc import Mapping
from operator import attrgetter
from typing import Any

import keras
import numpy as np

from nightune.models.engines.keras_parts.mixed_precision import rule_of
from nightune.models.engines.keras_parts.penalty_measurements import Measurements


class Follow(keras.callbacks.Callback):
    """Writes the plan's numbers into the optimizer's variables, where they differ from those before."""

    def __init__(self, numbers: Mapping[str, list[float]]) -> None:
        super().__init__()
        self._numbers = [(attrgetter(name), values) for name, values in numbers.items()]

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        for variable_of, values in self._numbers:
            if _is_new(values, batch):
                optimizer = rule_of(self.model.optimizer)  # on JAX, `model` fetches the model's state
                variable_of(optimizer).assign(values[batch])


class Remember(keras.callbacks.Callback):
    """Copies the kernels before one micro-batch, if somebody asks for them."""

    def __init__(self, index: int, measurements: Measurements) -> None:
        super().__init__()
        self._index = index if measurements.needs_weights_before else -1
        self._kernels = measurements.kernels
        self.values: list[np.ndarray] = []

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if batch == self._index and self.model:  # on JAX, asking for the model brings its variables up to date
            self.values = [np.array(kernel) for kernel in self._kernels]


def _is_new(values: list[float], index: int) -> bool:
    return index == 0 or values[index] != values[index - 1]
