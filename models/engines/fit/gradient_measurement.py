"""Squared norms of the gradients of micro-batches and of whole updates, measured during accumulation.

These are gradients of the examples' losses: those of weight regularizers are subtracted. All micro-batches of an update
use the same weights, so their gradients differ only because of their examples.
"""

import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from nightune.models.techniques.batch_sizes.gradient_noise import EPOCH_SQUARE, SQUARE, VARIANCE, two_size_estimates

MEASURED_PARTS = 4  # micro-batches per update: three degrees of freedom for the variance


class GradientMeasurement:
    """Means over an epoch's updates, in variables of an optimizer. Only full-size updates enter the noise."""

    def __init__(self, optimizer: Any, variables: list[keras.Variable], measures_epoch: bool) -> None:
        def number(name: str) -> keras.Variable:
            return optimizer.add_variable(shape=(), initializer="zeros", name=name)

        self.noise_part = number("noise_part")  # the weight of the next update's norms
        self.epoch_part = number("epoch_part")  # its share of the epoch's examples
        self._part_square = number("part_square")  # of the current update
        self._small_square, self._large_square = number("small_square"), number("large_square")
        self._epoch_gradients: dict[int, keras.Variable] = {}
        if measures_epoch:
            sums = optimizer.add_optimizer_variables(variables, "epoch_gradient")
            self._epoch_gradients = {id(variable): total for variable, total in zip(variables, sums, strict=True)}

    def clear(self) -> None:
        """Reset all sums at the start of an epoch."""
        for variable in (self._part_square, self._small_square, self._large_square, *self._epoch_gradients.values()):
            variable.assign(ops.zeros_like(variable.value))

    def add_part(self, variables: list[keras.Variable], gradients: list[Any], share: Any) -> None:
        """Add a micro-batch's gradients, in the graph."""
        self._part_square.assign_add(share * _square(_without_regularizers(variables, gradients)))

    def add_update(self, variables: list[keras.Variable], gradients: list[Any]) -> None:
        """Add an update's gradients, before the update is made, in the graph."""
        bare = _without_regularizers(variables, gradients)
        self._small_square.assign_add(self.noise_part * self._part_square)
        self._large_square.assign_add(self.noise_part * _square(bare))
        self._part_square.assign(ops.zeros_like(self._part_square.value))
        for variable, gradient in zip(variables, bare, strict=True):
            if id(variable) in self._epoch_gradients:
                self._epoch_gradients[id(variable)].assign_add(ops.cast(self.epoch_part, gradient.dtype) * gradient)

    def statistics(self, batch_size: int, parts: int) -> Mapping[str, float]:
        """Return the epoch's statistics, for updates of `batch_size` examples in `parts` micro-batches."""
        small, large = (float(ops.convert_to_numpy(each)) for each in (self._small_square, self._large_square))
        square, variance = two_size_estimates(large, small, batch_size, batch_size / parts)
        measured = {SQUARE: square, VARIANCE: variance}
        if self._epoch_gradients:
            sums = (ops.convert_to_numpy(total).astype(np.float64) for total in self._epoch_gradients.values())
            measured[EPOCH_SQUARE] = math.fsum(float(np.sum(total**2)) for total in sums)
        return measured


def noise_parts(batch_sizes: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
    """Return each update's weight in the epoch's means: equal for those of the first one's size, 0 for others."""
    is_full = batch_sizes == batch_sizes[0]
    return (is_full / is_full.sum()).astype(np.float32)


def _square(gradients: list[Any]) -> Any:
    return sum((ops.sum(ops.square(ops.cast(gradient, "float32"))) for gradient in gradients), start=0.0)


def _without_regularizers(variables: list[keras.Variable], gradients: list[Any]) -> list[Any]:
    regularized = [variable for variable in variables if variable.regularizer is not None]
    if not regularized:
        return gradients
    added = {id(each): gradient for each, gradient in zip(regularized, _gradients_of(regularized), strict=True)}
    return [gradient - added.get(id(each), 0.0) for each, gradient in zip(variables, gradients, strict=True)]


def _gradients_of(regularized: list[keras.Variable]) -> list[Any]:
    """Return the gradients of the weights' regularizers; Keras has no backend-neutral gradient."""

    def total(values: list[Any]) -> Any:
        return sum(
            (variable.regularizer(value) for variable, value in zip(regularized, values, strict=True)), start=0.0
        )

    values = [ops.convert_to_tensor(variable.value) for variable in regularized]
    if keras.backend.backend() == "tensorflow":
        import tensorflow  # noqa: PLC0415 - only where it is the backend

        with tensorflow.GradientTape() as tape:
            tape.watch(values)
            penalty = total(values)
        return tape.gradient(penalty, values)
    import jax  # noqa: PLC0415 - only where it is the backend

    return jax.grad(total)(values)
