"""A small recurrent model that reads a digit row by row."""

from typing import Any

import keras


def build(input_shape: tuple[int, ...], output_size: int, units: int = 32) -> Any:
    """Return a GRU over the 8 rows of an image of (8, 8, 1)."""
    inputs = keras.Input(input_shape)
    rows = keras.layers.Reshape(input_shape[:2])(inputs)
    read = keras.layers.GRU(units)(rows)
    return keras.Model(inputs, keras.layers.Dense(output_size)(read))
