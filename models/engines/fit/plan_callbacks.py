"""Callbacks of `model.fit` that execute a plan, update by update."""

from collections.abc import Mapping
from operator import attrgetter
from typing import Any

import keras
import numpy as np

from nightune.models.engines.keras_parts.mixed_precision import unscaled_optimizer
from nightune.models.engines.keras_parts.penalty_measurements import Measurements


class WriteNumbers(keras.callbacks.Callback):
    """Assigns the plan's numbers to the optimizer's variables when they change."""

    def __init__(self, numbers: Mapping[str, list[float]]) -> None:
        super().__init__()
        self._numbers = [(attrgetter(name), values) for name, values in numbers.items()]

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        for variable_of, values in self._numbers:
            if _is_new(values, batch):
                optimizer = unscaled_optimizer(self.model.optimizer)  # on JAX, reading `model` updates its state
                variable_of(optimizer).assign(values[batch])


class CopyKernels(keras.callbacks.Callback):
    """Copies the kernels before one micro-batch, if the measurements need them."""

    def __init__(self, index: int, measurements: Measurements) -> None:
        super().__init__()
        self._index = index if measurements.needs_weights_before else -1
        self._kernels = measurements.kernels
        self.values: list[np.ndarray] = []

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if batch == self._index and self.model:  # on JAX, reading `model` updates its variables
            self.values = [np.array(kernel) for kernel in self._kernels]


class KeepLogs(keras.callbacks.Callback):
    """Keeps what the step of the epoch's last batch returned."""

    async_safe = True  # does not wait for the values

    def __init__(self) -> None:
        super().__init__()
        self.logs: dict[str, Any] = {}

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.logs = dict(logs or {})


def _is_new(values: list[float], index: int) -> bool:
    return index == 0 or values[index] != values[index - 1]
