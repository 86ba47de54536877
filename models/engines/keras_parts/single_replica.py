"""Skip the sum of gradients over replicas in Keras' optimizers on TensorFlow if there is only one replica.

Keras puts that sum into every graph. For each, TensorFlow registers a gradient under a new name and never frees it, nor
the graph it belongs to: a leak of a megabyte or more for each model that a process trains.
"""

from collections.abc import Callable
from typing import Any

import keras

from nightune.models.library_internals.optimizers import wrap_replica_sum


def without_replicas(optimizer: Any) -> Any:
    """Return the optimizer, changed to skip the sum over replicas if there is only one."""
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
