"""Averages of the weights over the updates, evaluated and kept instead of the last weights."""

from collections.abc import Callable
from typing import Any

from keras import ops

POLYNOMIAL_POWER = 8.0  # γ of the authors of DoG, who took it from Shamir & Zhang's follow-ups

# (update, counted from 1; 1−d) → the share of the average that the update's weights have
Part = Callable[[Any, Any], Any]


def exponential_part(update: Any, forgotten: Any) -> Any:
    """Return c_t = 1−d, initially 1: x̄ ← d·x̄ + (1−d)θ, the exponential moving average (as Keras' `use_ema`)."""
    return ops.where(update > 1, ops.convert_to_tensor(forgotten, "float32"), 1.0)


def polynomial_part(update: Any, _forgotten: Any) -> Any:
    """Return c_t = (1+γ)/(t+γ): an average over a growing number of updates (Shamir & Zhang, 2013)."""
    return (1 + POLYNOMIAL_POWER) / (update + POLYNOMIAL_POWER)


def averaging(kind: Any, part: Part, forgotten: float) -> Any:
    """Return the class of optimizers with x̄ ← x̄ + c_t(θ − x̄) after each update; `evaluation_values` are x̄."""

    class Averaging(kind):  # type: ignore[misc] # one subclass for each of Keras' optimizers
        average_forgets = forgotten

        def build(self, variables: list[Any]) -> None:
            super().build(variables)
            self._weight_averages = self.add_optimizer_variables(variables, "average")

        def apply(self, grads: list[Any], trainable_variables: list[Any] | None = None) -> None:
            super().apply(grads, trainable_variables)
            share = part(ops.cast(self.iterations, "float32"), self.average_forgets)
            for average, variable in zip(self._weight_averages, self._trainable_variables, strict=True):
                average.assign(average + share * (variable - average))

        def evaluation_values(self) -> list[Any]:
            """Return x̄ of each trainable variable, a tensor; before the first update the variable's own value."""
            pairs = zip(self._weight_averages, self._trainable_variables, strict=True)
            is_begun = ops.greater(self.iterations, 0)
            return [ops.where(is_begun, *map(ops.convert_to_tensor, pair)) for pair in pairs]

    return Averaging


AVERAGES: dict[str, Part] = {"exponential": exponential_part, "polynomial": polynomial_part}
