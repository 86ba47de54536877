"""A momentum that changes between updates: a variable in place of the float of Keras' optimizers."""

from dataclasses import replace

import keras

from nightune.models.engines.keras_parts.traced_scalar import Hyperparameter
from nightune.models.library_internals.optimizers import set_untracked, track_variable
from nightune.models.techniques.optimizers.optimizers import OptimizerSettings


def with_velocity_slots(settings: OptimizerSettings) -> OptimizerSettings:
    """Return settings for which Keras creates velocities; each plan supplies the momentum itself."""
    return replace(settings, one_minus_momentum=0.5) if settings.kind == "sgd" else settings


def cycling(kind: type, settings: OptimizerSettings) -> type:
    """Return the optimizer's class with a variable `cycled` in place of its momentum or β₁."""
    attribute = "momentum" if settings.kind == "sgd" else "beta_1"

    class Cycling(kind):  # one subclass for each of Keras' optimizers
        def build(self, variables: list[keras.Variable]) -> None:
            super().build(variables)
            self.cycled = Hyperparameter(0.9, "cycled_momentum")
            track_variable(self, self.cycled)
            set_untracked(self, attribute, self.cycled)

    return Cycling
