"""Accumulation: an update computed in micro-batches, whose gradients are added up by their share of the examples.

The count is data, so nothing is compiled again when a batch size changes. All else that an update does (slots, decay,
averages, `iterations`) happens with its last micro-batch only. Batch normalization sees micro-batches.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from nightune.models.engines.fit.gradient_measurement import MEASURED_PARTS, GradientMeasurement
from nightune.models.engines.keras_parts.model_traits import is_noisy, is_separable
from nightune.models.library_internals.optimizers import place_of, trained_variables
from nightune.models.recipe.recipe import Recipe


@dataclass(frozen=True, eq=False)
class MicroBatches:
    """An epoch's updates, cut up. Arrays hold one value a micro-batch."""

    sizes: npt.NDArray[np.int32]  # examples
    updates: npt.NDArray[np.int32]  # which update it belongs to
    shares: npt.NDArray[np.float32]  # its part of the update's examples
    is_last: npt.NDArray[np.float32]  # 1 where it completes its update, else 0


@dataclass(frozen=True)
class Cut:
    """How updates are cut into micro-batches: of `cap` examples at most, and in `parts` at least where they can be.

    `in_powers` makes every size a power of two, for backends that compile each size of a batch anew: as many
    programs as there are powers, whatever the batch sizes are. `cap` 0 is no limit.
    """

    cap: int = 0
    parts: int = 1
    in_powers: bool = False

    def of(self, batch_sizes: npt.NDArray[np.int32]) -> MicroBatches:
        """Cut an epoch's updates; an epoch has one largest size, that of its first update's part or the cap."""
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


def chosen_cut(recipe: Recipe, model: keras.Model) -> Cut | None:
    """How a recipe's updates are cut on this backend; None where every batch is computed at once."""
    is_shape_bound = keras.backend.backend() != "tensorflow"  # each size of a batch is compiled anew
    settings = recipe.batch_size
    if recipe.measures_gradients:
        return Cut(settings.micro_size, MEASURED_PARTS, is_shape_bound)
    if settings.micro_size:
        return Cut(settings.micro_size, in_powers=is_shape_bound)
    if is_shape_bound and settings.policy == "random" and is_separable(model) and not is_noisy(model):
        return Cut(in_powers=True)
    return None


def _power_below(size: int) -> int:
    """The largest power of two that is not above the size."""
    return 1 << (size.bit_length() - 1)


def build_accumulating_optimizer(optimizer: Any, *, measures_noise: bool = False, measures_epoch: bool = False) -> Any:
    """Return the optimizer, not yet built, as one whose `apply` is called with each micro-batch's gradients.

    Variables to write before each: `share` and `is_last`. `measurement` is there with `measures_noise` only.
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
            gradients, variables = [_dense(*pair) for pair in pairs], [pair[1] for pair in pairs]
            totals = [self.accumulated[place_of(self, variable)] for variable in variables]
            if self.measurement is not None:
                self.measurement.see_part(variables, gradients, self.share)
            for total, gradient in zip(totals, gradients, strict=True):
                total.assign_add(gradient * ops.cast(self.share, gradient.dtype))

            def update() -> None:
                if self.measurement is not None:
                    self.measurement.see_whole(variables, [total.value for total in totals])
                super(Accumulating, self).apply([total.value for total in totals], variables)
                for total in totals:
                    total.assign(ops.zeros_like(total.value))

            _if(self.is_last > 0.5, update, [*self.variables, *variables])

    return Accumulating.from_config(optimizer.get_config())


def _dense(gradient: Any, variable: keras.Variable) -> Any:
    """A plain tensor: TensorFlow's gradient of an embedding holds the rows in use, some of them several times.

    Keras' adaptive optimizers square such rows one by one; those that accumulate see what they add up to.
    """
    return ops.add(ops.zeros_like(variable.value), gradient) if hasattr(gradient, "dense_shape") else gradient


def _if(condition: Any, update: Callable[[], None], state: Sequence[keras.Variable]) -> None:
    """Change the state by an update where the condition, which a graph computes, holds."""
    if keras.backend.backend() == "tensorflow":
        ops.cond(condition, update, lambda: None)
        return

    # Other backends want functions of values: what a branch writes into variables is lost after it.
    def updated() -> list[Any]:
        with keras.StatelessScope([(variable, variable.value) for variable in state]) as scope:
            update()
        return [scope.get_current_value(variable) for variable in state]

    values = ops.cond(condition, updated, lambda: [variable.value for variable in state])
    for variable, value in zip(state, values, strict=True):
        variable.assign(value)
