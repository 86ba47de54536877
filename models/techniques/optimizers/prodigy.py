"""Prodigy: Adam that sets its own rate (Mishchenko & Defazio, 2023, algorithm 4)."""

from typing import Any

import keras
from keras import ops

from nightune.models.library_internals.optimizers import index_of, updates_together
from nightune.models.techniques.optimizers.gradients import at_first, dense, total


@updates_together
class Prodigy(keras.optimizers.Optimizer):
    """d, a lower estimate of the distance to the solution, replaces the rate.

    m ← β₁m + (1−β₁)dg, v ← β₂v + (1−β₂)d²g², s ← √β₂s + (γ̂d²/d₀)g, r ← √β₂r + (γ̂d²/d₀)⟨g, θ₀ − θ⟩,
    θ ← θ − γ̂d·m/(√v + dε), then d ← max(d, r/|s|₁): as optax.contrib.prodigy, where γ̂ is the learning rate, usually
    1, with Adam's bias correction √(1−β₂ᵗ⁺¹)/(1−β₁ᵗ⁺¹).
    """

    def __init__(
        self, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8, distance: float = 1e-6, **shared: Any
    ) -> None:
        super().__init__(**shared)
        self.beta_1, self.beta_2, self.epsilon, self.distance = beta_1, beta_2, epsilon, distance

    def build(self, variables: list[keras.Variable]) -> None:
        """Create the slots; θ₀ is stored at the first update."""
        if self.built:
            return
        super().build(variables)
        names = ["momentum", "velocity", "gradient_sum", "start"]
        self._momenta, self._velocities, self._sums, self._starts = self.add_optimizer_variables(variables, names)
        self.estimate = self.add_variable((), keras.initializers.Constant(self.distance), name="distance")
        self._progress = self.add_variable((), name="progress")
        self.effective_rate = self.add_variable((), name="effective_rate")

    def update_all(self, grads: list[Any], trainable_variables: list[Any], learning_rate: Any) -> None:
        """Move all variables."""
        gradients, places = (
            dense(grads, trainable_variables),
            [index_of(self, variable) for variable in trainable_variables],
        )
        update = ops.cast(self.iterations + 1, "float32")
        correction = ops.sqrt(1 - ops.power(self.beta_2, update)) / (1 - ops.power(self.beta_1, update))
        distance = ops.convert_to_tensor(self.estimate)
        rate = distance * ops.cast(learning_rate, "float32") * correction
        weight = rate * distance / self.distance
        sums, progress = [], []
        for place, gradient, variable in zip(places, gradients, trainable_variables, strict=True):
            start = at_first(self, self._starts[place], variable)
            self.assign(self._starts[place], start)
            progress.append(gradient * (start - variable))
            sums.append(self.beta_2**0.5 * self._sums[place] + weight * gradient)
            self.assign(self._sums[place], sums[-1])
            self._move(place, gradient, variable, rate, distance)
        numerator = self.beta_2**0.5 * self._progress + weight * total(progress)
        norm = total([ops.abs(each) for each in sums])
        # Without a gradient, or at rate 0 in a warm-up, there is no estimate yet.
        found = ops.where(norm > 0, numerator / ops.where(norm > 0, norm, 1.0), 0.0)
        self.assign(self._progress, numerator)
        self.assign(self.estimate, ops.maximum(distance, found))
        self.assign(self.effective_rate, distance * ops.cast(learning_rate, "float32"))

    def _move(self, place: int, gradient: Any, variable: Any, rate: Any, distance: Any) -> None:
        momentum = self.beta_1 * self._momenta[place] + (1 - self.beta_1) * distance * gradient
        velocity = self.beta_2 * self._velocities[place] + (1 - self.beta_2) * ops.square(distance * gradient)
        self.assign(self._momenta[place], momentum)
        self.assign(self._velocities[place], velocity)
        self.assign_sub(variable, rate * momentum / (ops.sqrt(velocity) + distance * self.epsilon))

    def get_config(self) -> dict[str, Any]:
        """Return the configuration, with the constants as floats."""
        own = {"beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon, "distance": self.distance}
        return {**super().get_config(), **own}
