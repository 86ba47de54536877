"""The arrays that programs take and return, as named tuples, which both backends flatten like plain tuples."""

from typing import Any, NamedTuple

import numpy as np

Arrays = list[Any]


class State(NamedTuple):
    """All arrays that training changes."""

    trainable: Arrays  # weights: one array for each, or all as one vector, as the program's update rule requires
    non_trainable: Arrays  # other variables: moving statistics, states of random streams
    slots: Arrays  # variables of the optimizer


class Data(NamedTuple):
    """The data set, with targets in the form that the head requires; several inputs are a dictionary or a tuple."""

    inputs: Any
    targets: Any
    validation: Any  # inputs of the validation split
    weights: Any = None  # of the training rows, if the data has them


class Batch(NamedTuple):
    """Examples that are computed at once: a block, or a whole batch."""

    inputs: Any
    targets: Any
    weights: Any  # weight of each example in the batch's mean, or one scalar for all; 0 for padding
    first: Any = 0  # index of the first example in its batch
    is_real: Any = None  # (examples,) boolean, False for padding; None if nothing depends on it


class Update(NamedTuple):
    """The arguments of one update, in addition to state and data."""

    hyperparameters: Any  # from `Program.hyperparameters`
    order: Any  # indices of the epoch's examples, padded
    bounds: Any  # (2,) int32: start of the batch in the order, and its size
    rates: Any  # (3,) float32: learning rate, shrink, and momentum if it cycles with the rate
    rule: Any  # int32: index of the optimizer's rule, where a program holds several


class Updates(NamedTuple):
    """The arguments of consecutive updates of an epoch, in addition to state and data."""

    hyperparameters: Any
    order: Any
    bounds: Any  # (updates, 2)
    rates: Any  # (updates, 3)
    span: Any  # int32: first update, end (exclusive) and, unless it is static, whether to validate afterwards
    rule: Any  # int32

    def at(self, index: Any) -> Update:
        """Return the update at an index."""
        return Update(self.hyperparameters, self.order, self.bounds[index], self.rates[index], self.rule)


def padded_rows(array: np.ndarray, count: int) -> np.ndarray:
    """Return an array with so many rows: more are copies of its last one, and no plan names them."""
    missing = count - len(array)
    return np.concatenate([array, np.repeat(array[-1:], missing, axis=0)]) if missing > 0 else array
