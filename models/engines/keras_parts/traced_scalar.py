"""Hyperparameters as data: variables in place of the Python floats that Keras expects.

A traced program contains floats as constants, and Keras compares them in Python first (`if self.momentum != 0`), which
fails with tensors. A hyperparameter variable answers such comparisons as an ordinary positive number does; its value is
read at each step, so one traced program serves many trials.
"""

from typing import Any

import keras
import numpy as np

from nightune.models.library_internals.optimizers import set_untracked


class Hyperparameter(keras.Variable):
    """A scalar float32 that may change between two calls of a traced program.

    Comparisons ignore its value: it is greater than any number, and equal to none. The graph key must therefore
    distinguish hyperparameters that are 0.
    """

    def __init__(self, value: float, name: str) -> None:
        super().__init__(float(value), dtype="float32", trainable=False, autocast=False, name=name)

    def __bool__(self) -> bool:
        return True

    def get_shape(self) -> Any:
        """Return the shape; TensorFlow's dropout calls this method of its rate."""
        return self.value.shape

    def __eq__(self, other: object) -> bool:
        return self is other

    def __ne__(self, other: object) -> bool:
        return self is not other

    def __gt__(self, other: object) -> bool:
        return True

    def __ge__(self, other: object) -> bool:
        return True

    def __lt__(self, other: object) -> bool:
        return False

    def __le__(self, other: object) -> bool:
        return False

    __hash__ = keras.Variable.__hash__


def make_vector(length: int) -> keras.Variable:
    """Return a vector float32 of ones whose values may change between two calls of a traced program."""
    return keras.Variable(np.ones(length, np.float32), trainable=False, autocast=False, dtype="float32")


def make_variable(owner: Any, attribute: str) -> Hyperparameter:
    """Replace a float of a layer or an optimizer by a variable that is not part of the owner's state."""
    hyperparameter = Hyperparameter(float(getattr(owner, attribute)), attribute)
    set_untracked(owner, attribute, hyperparameter)
    return hyperparameter
