"""Keras' optimizers on TensorFlow without the sum over replicas, where there is one replica.

Keras asks for that sum in every graph; TensorFlow registers a gradient for it under a new name that it never forgets,
and with it the whole graph: a megabyte and more for each model that is trained in a process.
"""

from collections.abc import Callable
from typing import Any

import keras

from nightune.models.library_internals.optimizers import wrap_replica_sum


def without_replicas(optimizer: Any) -> Any:
    """Return the optimizer, whose gradients are left as they are where nothing is to be added to them."""
    if keras.backend.backend() != "tensorflow":
        return optimizer
    import tensorflow  # noqa: PLC0415 - only where it is the backend

    def unless_alone(summed: Callable[..., Any]) -> Callable[..., Any]:
        def sum_gradients(gradients_and_variables: list[Any]) -> Any:
            is_alone = tensorflow.distribute.get_strategy().num_replicas_in_sync == 1
            return gradients_and_variables if is_alone else summed(gradients_and_variables)

        return sum_gradients

    wrap_replica_sum(optimizer, unless_alone)
    return optimizer
