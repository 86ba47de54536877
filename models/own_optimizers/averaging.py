"""Averages of the weights over the updates: what is measured and kept in the place of the last weights."""

from collections.abc import Callable
from typing import Any

from keras import ops

POLYNOMIAL_POWER = 8.0  # γ of the authors of DoG, who took it from Shamir & Zhang's follow-ups

Part = Callable[[Any], Any]  # of the update, counted from 1: how much of the average is its weights


def exponential_part(forgotten: float) -> Part:
    """Return c_t = 1−d, and 1 at first: x̄ ← d·x̄ + (1−d)θ, Polyak's average that forgets (as Keras' `use_ema`)."""
    return lambda update: ops.where(update > 1, forgotten, 1.0)


def polynomial_part() -> Part:
    """Return c_t = (1+γ)/(t+γ): an average whose memory grows with the training (Shamir & Zhang, 2013)."""
    return lambda update: (1 + POLYNOMIAL_POWER) / (update + POLYNOMIAL_POWER)


def averaging(kind: Any, part: Part) -> Any:
    """Return the class of optimizers with x̄ ← x̄ + c_t(θ − x̄) after each update; `evaluation_values` are x̄."""

    class Averaging(kind):  # type: ignore[misc] # one subclass for each of Keras' optimizers
        def build(self, variables: list[Any]) -> None:
            super().build(variables)
            self._weight_averages = self.add_optimizer_variables(variables, "average")

        def apply(self, grads: list[Any], trainable_variables: list[Any] | None = None) -> None:
            super().apply(grads, trainable_variables)
            share = part(ops.cast(self.iterations, "float32"))
            for average, variable in zip(self._weight_averages, self._trainable_variables, strict=True):
                average.assign(average + share * (variable - average))

        def evaluation_values(self) -> list[Any] | None:
            """Return x̄ of each trainable variable, NumPy; None before the first update."""
            if not int(self.iterations):
                return None
            return [ops.convert_to_numpy(average.value) for average in self._weight_averages]

    return Averaging


AVERAGES: dict[str, Callable[[float], Part]] = {
    "exponential": exponential_part,
    "polynomial": lambda forgotten: polynomial_part(),
}
