"""Layers that the built-in architectures share, and the types of their parameters."""

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from nightune.models.data.dataset import OutputSize
from nightune.models.errors import InputError
from nightune.models.techniques.keys import DROPOUT_RATE, Key
from nightune.vocabulary import MODEL_PREFIX

Activation = Literal["relu", "elu", "selu", "gelu", "silu", "leaky_relu", "tanh", "sigmoid", "linear"]
Dropout = Annotated[float, DROPOUT_RATE]
Size = Annotated[int, Key("integer", low=1)]


def last_layers(size: OutputSize) -> list[Any]:
    """Return the last layers; in mixed precision they compute in the format of their weights, for an accurate loss."""
    from keras import config, layers  # noqa: PLC0415 - Keras takes seconds; a study is checked without it

    dtype = config.dtype_policy().variable_dtype
    last = [layers.Dense(math.prod(size) if isinstance(size, tuple) else size, dtype=dtype)]
    return [*last, layers.Reshape(size, dtype=dtype)] if isinstance(size, tuple) else last


def block(layer: Any, activation: str, batch_normalization: bool) -> list[Any]:
    """Return a layer, its normalization and its activation, in this order (Ioffe & Szegedy, 2015)."""
    from keras import layers  # noqa: PLC0415 - as above

    return [layer, *([layers.BatchNormalization()] if batch_normalization else []), layers.Activation(activation)]


def dense_layers(units: Sequence[int], activation: str, dropout: float) -> list[Any]:
    """Return dense layers of these widths, each with dropout behind it."""
    from keras import layers  # noqa: PLC0415 - as above

    stack: list[Any] = []
    for width in checked_sizes("units", units):
        stack += [layers.Dense(width, activation=activation), *([layers.Dropout(dropout)] if dropout else [])]
    return stack


def chained(stack: Sequence[Any], inputs: Any) -> Any:
    """Call layers one after the other."""
    for layer in stack:
        inputs = layer(inputs)
    return inputs


def checked_sizes(name: str, sizes: Any) -> list[int]:
    """Return the sizes of layers, a list of whole numbers from 1; InputError for anything else."""
    if not isinstance(sizes, list | tuple) or any(type(size) is not int or size < 1 for size in sizes):
        problem = f"{sizes!r} is not a list of whole numbers from 1, such as [64, 32]"
        remedy = f"a list in a study gives options, so that one list as a value is written {name} = [[64, 32]]"
        raise InputError(f"{MODEL_PREFIX}{name}", f"{problem} ({remedy})")
    return list(sizes)
