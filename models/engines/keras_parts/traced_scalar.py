"""Hyperparameters as data: variables that stand where Keras expects a Python float.

Keras bakes floats into what it traces, and asks them Python questions first (`if self.momentum != 0`), to which a
tensor has no answer. A hyperparameter variable answers that it is there and no special value; its value is read from
memory at each step, so that one traced program serves many trials.
"""

from typing import Any

import keras

from nightune.models.library_internals.optimizers import set_untracked


class Hyperparameter(keras.Variable):
    """A scalar float32 that may change between two calls of a traced program.

    Comparisons with numbers are answered by structure, not by value: it is above 0, and equal to no number. Whether a
    value is 0 must therefore be part of what programs are kept apart by.
    """

    def __init__(self, value: float, name: str) -> None:
        super().__init__(float(value), dtype="float32", trainable=False, autocast=False, name=name)

    def __bool__(self) -> bool:
        return True

    def get_shape(self) -> Any:
        """TensorFlow's dropout asks its rate for this."""
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


def make_variable(owner: Any, attribute: str) -> Hyperparameter:
    """Put a variable in the place of a float of a layer or an optimizer; it is no part of the owner's state."""
    hyperparameter = Hyperparameter(float(getattr(owner, attribute)), attribute)
    set_untracked(owner, attribute, hyperparameter)
    return hyperparameter
