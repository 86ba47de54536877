"""Adam as printed in the article, without bias correction: for comparison only."""

from typing import Any

import keras
from keras import ops

from nightune.models.library_internals.optimizers import adam_slots, index_of


class UncorrectedAdam(keras.optimizers.Adam):
    """m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g², θ ← θ − ηm/(√v + ε).

    The first step is (1−β₁)/√(1−β₂) = 3.1623 times η, where Adam's is η (Kingma & Ba, 2015, section 3).
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable."""
        momentum, velocity = adam_slots(self, index_of(self, variable))
        gradient = ops.cast(gradient, variable.dtype)
        self.assign_add(momentum, ops.subtract(gradient, momentum) * (1 - self.beta_1))
        self.assign_add(velocity, ops.subtract(ops.square(gradient), velocity) * (1 - self.beta_2))
        step = ops.cast(learning_rate, variable.dtype) * momentum / (ops.sqrt(velocity) + self.epsilon)
        self.assign_sub(variable, step)
