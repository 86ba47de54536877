"""Schedule-free AdamW: an average of the iterates instead of a falling rate (Defazio et al., 2024, algorithm 1).

Keras' ScheduleFreeAdamW differs: it is evaluated and saved at y, decays y but not z, and weights all updates equally
in a warm-up.
"""

from typing import Any

import keras
from keras import ops

from nightune.models.library_internals.optimizers import index_of, trained_variables, updates_together
from nightune.models.techniques.optimizers.gradients import dense


@updates_together
class ScheduleFree(keras.optimizers.Optimizer):
    """The gradient is taken at y = (1−β₁)z + β₁x, where z ← z − γ·g/(√v̂ + ε), and then x ← (1−c)x + cz.

    v̂ is Adam's, bias corrected; c = w/Σw, w = γ̄², γ̄ the maximum rate so far, so that updates of a warm-up have less
    weight. The model has the weights y during training; x is evaluated and kept (`evaluation_values`). z and x are
    stored as differences from y, which are 0 at the start for any initial weights.
    """

    def __init__(self, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8, **shared: Any) -> None:
        super().__init__(**shared)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    def build(self, variables: list[keras.Variable]) -> None:
        """Create the slots."""
        if self.built:
            return
        super().build(variables)
        names = ["velocity", "base", "average"]
        self._velocities, self._bases, self._averages = self.add_optimizer_variables(variables, names)
        self._highest = self.add_variable((), name="highest_rate")
        self._weights = self.add_variable((), name="sum_of_weights")

    def decay(self, variable: keras.Variable, shrink: Any) -> None:
        """z ← z − s·y: the decay is part of the gradient step, and affects x and y in the same way."""
        self.assign_sub(self._bases[index_of(self, variable)], shrink * variable)

    def evaluation_values(self) -> list[Any]:
        """Return x of each trainable variable, a tensor."""
        pairs = zip(trained_variables(self), self._averages, strict=True)
        return [ops.add(variable, average) for variable, average in pairs]

    def update_all(self, grads: list[Any], trainable_variables: list[Any], learning_rate: Any) -> None:
        """Move all variables."""
        rate, update = ops.cast(learning_rate, "float32"), ops.cast(self.iterations + 1, "float32")
        highest = ops.maximum(self._highest, rate)
        weights = self._weights + ops.square(highest)
        part = ops.where(weights > 0, ops.square(highest) / ops.where(weights > 0, weights, 1.0), 0.0)
        self.assign(self._highest, highest)
        self.assign(self._weights, weights)
        for gradient, variable in zip(dense(grads, trainable_variables), trainable_variables, strict=True):
            place = index_of(self, variable)
            velocity = self.beta_2 * self._velocities[place] + (1 - self.beta_2) * ops.square(gradient)
            self.assign(self._velocities[place], velocity)
            corrected = velocity / (1 - ops.power(self.beta_2, update))
            self._move(place, variable, rate * gradient / (ops.sqrt(corrected) + self.epsilon), part)

    def _move(self, place: int, variable: Any, step: Any, part: Any) -> None:
        """Update z, x and y, as differences from the old y, then from the new one."""
        base = self._bases[place] - step
        average = self._averages[place] + part * (base - self._averages[place])
        moved = (1 - self.beta_1) * base + self.beta_1 * average
        self.assign(self._bases[place], base - moved)
        self.assign(self._averages[place], average - moved)
        self.assign_add(variable, moved)

    def get_config(self) -> dict[str, Any]:
        """Return the configuration, with the constants as floats."""
        own = {"beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}
        return {**super().get_config(), **own}
