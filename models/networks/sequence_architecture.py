"""The built-in architecture `sequence`: layers along the steps of a series, and one vector of the whole."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from nightune.models.data.dataset import OutputSize
from nightune.models.errors import InputError
from nightune.models.networks.layer_blocks import (
    Activation,
    Dropout,
    checked_sizes,
    dense_layers,
    last_layers,
)
from nightune.models.techniques.keys import Key
from nightune.vocabulary import ARCHITECTURE as KEY

Layer = Literal["convolution", "gru", "lstm"]
KernelSize = Annotated[int, Key("integer", low=1, when={"layer": ("convolution",)})]


def sequence(  # noqa: PLR0913, PLR0917 - one argument per key of [model]
    input_shape: tuple[int, ...],
    output_size: OutputSize,
    layer: Layer = "convolution",
    width: Sequence[int] = (32, 32),
    kernel_size: KernelSize = 5,
    units: Sequence[int] = (),
    activation: Activation = "relu",
    dropout: Dropout = 0.0,
) -> Any:
    """Return convolutions, GRUs or LSTMs of these widths along the steps, one vector, and dense layers.

    Inputs are series (steps, channels), or (steps,) of one channel. The vector is the mean of the last convolution over
    all steps, or what the last GRU or LSTM returns behind the last step.
    """
    from keras import Input, Sequential, layers  # noqa: PLC0415 - Keras takes seconds; a study is checked without it

    if len(input_shape) not in (1, 2):
        shapes = "series (steps, channels) or (steps,)"
        raise InputError(KEY, f"sequence needs {shapes}, but an example has the shape {input_shape}")
    stack: list[Any] = [Input(input_shape), *([layers.Reshape((*input_shape, 1))] if len(input_shape) == 1 else [])]
    widths = checked_sizes("width", width)
    if not widths:
        raise InputError("model.width", "sequence needs a layer along the steps; write width = [[32]]")
    for place, size in enumerate(widths, start=1):
        if layer == "convolution":
            stack.append(layers.Conv1D(size, kernel_size, padding="same", activation=activation))
        else:
            recurrent = layers.GRU if layer == "gru" else layers.LSTM
            stack.append(recurrent(size, return_sequences=place < len(widths)))
        stack += [layers.Dropout(dropout)] if dropout else []
    stack += [layers.GlobalAveragePooling1D()] if layer == "convolution" else []
    return Sequential([*stack, *dense_layers(units, activation, dropout), *last_layers(output_size)], name="sequence")
