"""Functions of all gradients or variables together."""

from typing import Any

import keras
from keras import ops

from nightune.models.library_internals.optimizers import set_untracked, trained_variables


def with_dense_gradients(optimizer: Any) -> Any:
    """Return the optimizer, changed to add up the rows of a table's gradient before its update, clipping included.

    On TensorFlow the gradient of an embedding lists a row once for each time that it was looked up. Keras' optimizers
    square, scale or compare the rows of that list one by one, and not their sum, which is the gradient.
    """
    if keras.backend.backend() == "tensorflow":
        apply = optimizer.apply

        def apply_dense(grads: list[Any], trainable_variables: list[keras.Variable] | None = None) -> None:
            variables = trained_variables(optimizer) if trainable_variables is None else trainable_variables
            apply(dense(grads, variables), trainable_variables)

        set_untracked(
            optimizer, "apply", apply_dense
        )  # not a class of ours: a compiled model's optimizer can be copied
    return optimizer


def dense(gradients: list[Any], variables: list[Any]) -> list[Any]:
    """Return the gradients as dense tensors, with the sum of the gradients of each row of a table."""
    return [
        ops.add(ops.zeros_like(variable), gradient) if hasattr(gradient, "dense_shape") else gradient
        for gradient, variable in zip(gradients, variables, strict=True)
    ]


def total(values: list[Any]) -> Any:
    """Return the sum of all entries of all tensors, a scalar."""
    return sum((ops.sum(value) for value in values), start=ops.zeros(()))


def at_first(optimizer: Any, slot: Any, value: Any) -> Any:
    """Return the value at the first update, and the slot's value afterwards.

    Slots thus start from the weights at the start of training, not from those at the build.
    """
    return ops.where(ops.equal(optimizer.iterations, 0), ops.convert_to_tensor(value), ops.convert_to_tensor(slot))
