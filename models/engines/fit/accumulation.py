"""Gradient accumulation: an update computed in micro-batches, whose gradients are averaged by their share of examples.

The number of micro-batches is data: a new batch size compiles nothing. The rest of an update (slots, decay, averages,
`iterations`) happens with its last micro-batch only. Batch normalization normalizes over micro-batches.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from nightune.models.engines.fit.gradient_measurement import MEASURED_PARTS, GradientMeasurement
from nightune.models.engines.keras_parts.model_traits import is_noisy
from nightune.models.library_internals.optimizers import index_of, trained_variables
from nightune.models.networks.coupling import is_separable
from nightune.models.recipe.recipe import Recipe
from nightune.models.serving.input_trees import ArrayTree
from nightune.models.techniques.optimizers.gradients import dense


@dataclass(frozen=True, eq=False)
class MicroBatches:
    """An epoch's updates split into micro-batches. Arrays hold one value per micro-batch."""

    sizes: npt.NDArray[np.int32]  # examples
    updates: npt.NDArray[np.int32]  # the index of its update
    shares: npt.NDArray[np.float32]  # its share of the update's examples
    is_last: npt.NDArray[np.float32]  # 1 if it completes its update, else 0


@dataclass(frozen=True)
class Cut:
    """How to split updates into micro-batches: at most `cap` examples (0: no limit), at least `parts` if possible.

    `in_powers` makes every size a power of two, for backends that compile for each batch size: the number of programs
    is then the number of powers, whatever the batch sizes are.
    """

    cap: int = 0
    parts: int = 1
    in_powers: bool = False

    def of(self, batch_sizes: npt.NDArray[np.int32]) -> MicroBatches:
        """Split an epoch's updates; the largest micro-batch is a part of the largest batch, or the cap."""
        largest = -(-int(batch_sizes.max()) // self.parts)
        largest = min(largest, self.cap) if self.cap else largest
        largest = _power_below(largest) if self.in_powers else largest
        cuts = [self._cut(int(size), largest) for size in batch_sizes]
        counts = np.array([len(cut) for cut in cuts])
        sizes = np.concatenate(cuts).astype(np.int32)
        updates = np.repeat(np.arange(len(cuts), dtype=np.int32), counts)
        is_last = np.zeros(len(sizes), np.float32)
        is_last[np.cumsum(counts) - 1] = 1.0
        return MicroBatches(sizes, updates, (sizes / batch_sizes[updates]).astype(np.float32), is_last)

    def _cut(self, size: int, largest: int) -> list[int]:
        whole, left_over = divmod(size, largest)
        sizes = [largest] * whole
        while left_over:
            part = _power_below(left_over) if self.in_powers else left_over
            sizes.append(part)
            left_over -= part
        return sizes


def chosen_cut(recipe: Recipe, model: keras.Model, sample: ArrayTree) -> Cut | None:
    """Return how to split a recipe's updates on this backend; None to compute every batch at once.

    `sample` is a few training rows, to measure whether examples depend on each other.
    """
    is_shape_bound = keras.backend.backend() != "tensorflow"  # it compiles for each batch size
    settings = recipe.batch_size
    if recipe.measures_gradients:
        return Cut(settings.micro_size, MEASURED_PARTS, is_shape_bound)
    if settings.micro_size:
        return Cut(settings.micro_size, in_powers=is_shape_bound)
    if is_shape_bound and settings.policy == "random" and not is_noisy(model) and is_separable(model, sample):
        return Cut(in_powers=True)
    return None


def _power_below(size: int) -> int:
    """Return the largest power of two up to the size."""
    return 1 << (size.bit_length() - 1)


def build_accumulating_optimizer(optimizer: Any, *, measures_noise: bool = False, measures_epoch: bool = False) -> Any:
    """Return the optimizer, not yet built, changed so that `apply` takes the gradients of each micro-batch.

    Set the variables `share` and `is_last` before each call. `measurement` is None without `measures_noise`.
    """

    class Accumulating(type(optimizer)):  # type: ignore[misc] # one subclass for each optimizer
        def build(self, variables: list[keras.Variable]) -> None:
            super().build(variables)
            self.share, self.is_last = (
                self.add_variable(shape=(), initializer="ones", name=name) for name in ("share", "is_last")
            )
            self.accumulated = self.add_optimizer_variables(variables, "accumulated")
            self.measurement = GradientMeasurement(self, variables, measures_epoch) if measures_noise else None

        def apply(self, grads: list[Any], trainable_variables: list[keras.Variable] | None = None) -> None:
            given = trained_variables(self) if trainable_variables is None else trainable_variables
            pairs = [pair for pair in zip(grads, given, strict=True) if pair[0] is not None]
            variables = [variable for _, variable in pairs]
            gradients = dense([gradient for gradient, _ in pairs], variables)
            totals = [self.accumulated[index_of(self, variable)] for variable in variables]
            if self.measurement is not None:
                self.measurement.add_part(variables, gradients, self.share)
            for total, gradient in zip(totals, gradients, strict=True):
                total.assign_add(gradient * ops.cast(self.share, gradient.dtype))

            def update() -> None:
                if self.measurement is not None:
                    self.measurement.add_update(variables, [total.value for total in totals])
                super(Accumulating, self).apply([total.value for total in totals], variables)
                for total in totals:
                    total.assign(ops.zeros_like(total.value))

            _if(self.is_last > 0.5, update, [*self.variables, *variables])

    return Accumulating.from_config(optimizer.get_config())


def _if(condition: Any, update: Callable[[], None], state: Sequence[keras.Variable]) -> None:
    """Run the update, which changes the state, if the condition, a tensor, is true."""
    if keras.backend.backend() == "tensorflow":
        ops.cond(condition, update, lambda: None)
        return

    # Other backends need functions of values: a branch cannot assign to variables.
    def updated() -> list[Any]:
        with keras.StatelessScope([(variable, variable.value) for variable in state]) as scope:
            update()
        return [scope.get_current_value(variable) for variable in state]

    values = ops.cond(condition, updated, lambda: [variable.value for variable in state])
    for variable, value in zip(state, values, strict=True):
        variable.assign(value)
