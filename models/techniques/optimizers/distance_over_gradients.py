"""DoG, distance over gradients: gradient descent that sets its own rate (Ivgi, Hinder & Carmon, 2023)."""

from typing import Any

import keras
from keras import ops

from nightune.models.library_internals.optimizers import index_of, updates_together
from nightune.models.techniques.optimizers.gradients import at_first, dense, total

STABILIZER = 1e-8  # added to the sum of squares, as in the authors' and optax' code


@updates_together
class DistanceOverGradients(keras.optimizers.Optimizer):
    """θ ← θ − ηg with η = γ·r̄/√(Σ|g|²), r̄ the maximum distance of θ from θ₀, at least α(1 + |θ₀|).

    γ is the learning rate, usually 1; α is `distance`. The theory holds for an average of the iterates: averaging.py.
    """

    def __init__(self, distance: float = 1e-6, **shared: Any) -> None:
        super().__init__(**shared)
        self.distance = distance

    def build(self, variables: list[keras.Variable]) -> None:
        """Create the slots; θ₀ is stored at the first update."""
        if self.built:
            return
        super().build(variables)
        self._starts = self.add_optimizer_variables(variables, "start")
        self._farthest = self.add_variable((), name="farthest")
        self._squares = self.add_variable((), name="squares")
        self.effective_rate = self.add_variable((), name="effective_rate")

    def update_all(self, grads: list[Any], trainable_variables: list[Any], learning_rate: Any) -> None:
        """Move all variables."""
        gradients, places = (
            dense(grads, trainable_variables),
            [index_of(self, variable) for variable in trainable_variables],
        )
        starts = [
            at_first(self, self._starts[place], variable)
            for place, variable in zip(places, trainable_variables, strict=True)
        ]
        for place, start in zip(places, starts, strict=True):
            self.assign(self._starts[place], start)
        pairs = zip(starts, trainable_variables, strict=True)
        moved = total([ops.square(start - variable) for start, variable in pairs])
        least = self.distance * (1 + ops.sqrt(total([ops.square(start) for start in starts])))
        farthest = ops.maximum(ops.maximum(self._farthest, least), ops.sqrt(moved))
        squares = self._squares + total([ops.square(gradient) for gradient in gradients])
        rate = ops.cast(learning_rate, "float32") * farthest / ops.sqrt(squares + STABILIZER)
        self.assign(self._farthest, farthest)
        self.assign(self._squares, squares)
        self.assign(self.effective_rate, rate)
        for variable, gradient in zip(trainable_variables, gradients, strict=True):
            self.assign_sub(variable, rate * gradient)

    def get_config(self) -> dict[str, Any]:
        """Return the configuration, with α."""
        return {**super().get_config(), "distance": self.distance}
