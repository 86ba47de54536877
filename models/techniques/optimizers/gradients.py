"""Functions of all gradients or variables together."""

from typing import Any

from keras import ops


def dense(gradients: list[Any], variables: list[Any]) -> list[Any]:
    """Return the gradients as dense tensors; TensorFlow's gradients of embeddings contain the used rows only."""
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
