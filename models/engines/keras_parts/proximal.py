"""The proximal step of an L1 penalty, which makes weights exactly zero; a penalty in the loss does not."""

from typing import Any

import keras
from keras import ops


def thresholding(kind: type, kernels: list[keras.Variable]) -> type:
    """Return the optimizer's class with a variable `proximal`, λ: after each step w ← sign(w)·max(|w| − ηλ, 0)."""

    class Thresholding(kind):  # one subclass for each of Keras' optimizers
        def build(self, variables: list[keras.Variable]) -> None:
            super().build(variables)
            self.proximal = self.add_variable(shape=(), name="proximal")

        def apply(self, grads: list[Any], trainable_variables: list[keras.Variable] | None = None) -> None:
            super().apply(grads, trainable_variables)
            threshold = self.learning_rate * self.proximal
            for kernel in kernels:
                kernel.assign(ops.sign(kernel) * ops.maximum(ops.abs(kernel) - threshold, 0.0))

    return Thresholding
