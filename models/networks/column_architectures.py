"""Built-in architectures for tables with columns of texts and codes: `text` and `wide_deep`."""

from collections.abc import Mapping, Sequence
from typing import Any

from nightune.models.data.dataset import OutputSize
from nightune.models.errors import InputError
from nightune.models.networks.column_layers import Encoder, column_inputs, embedded, encoded_text
from nightune.models.networks.layer_blocks import Activation, Dropout, Size, chained, dense_layers, last_layers
from nightune.models.serving.input_trees import ShapeTree
from nightune.vocabulary import ARCHITECTURE as KEY


def text(  # noqa: PLR0913, PLR0917 - one argument per key of [model]
    input_shape: ShapeTree,
    output_size: OutputSize,
    vocabulary_sizes: Mapping[str, int],
    encoder: Encoder = "pooling",
    embedding_size: Size = 32,
    units: Sequence[int] = (32,),
    activation: Activation = "relu",
    dropout: Dropout = 0.0,
) -> Any:
    """Return embeddings of words and an encoder for each text, beside embedded codes and features, then dense layers.

    The encoder is the mean of the words, a GRU that reads them in order, or a transformer block with learned places.
    """
    from keras import Model, layers  # noqa: PLC0415 - Keras takes seconds; a study is checked without it

    columns = column_inputs("text", input_shape, vocabulary_sizes)
    if not columns.texts:
        raise InputError(KEY, 'text needs a column of texts: text = ["comment"] in [data]; for codes use "wide_deep"')
    sizes = columns.sizes
    parts = [encoded_text(each, sizes[name], encoder, embedding_size, dropout) for name, each in columns.texts.items()]
    parts += [embedded(each, sizes[name], embedding_size) for name, each in columns.codes.items()]
    parts += [] if columns.features is None else [columns.features]
    hidden = layers.Concatenate()(parts) if len(parts) > 1 else parts[0]
    stack = [*([layers.Dropout(dropout)] if dropout else []), *dense_layers(units, activation, dropout)]
    return Model(columns.whole, chained([*stack, *last_layers(output_size)], hidden), name="text")


def wide_deep(
    input_shape: ShapeTree,
    output_size: OutputSize,
    vocabulary_sizes: Mapping[str, int],
    embedding_size: Size = 8,
    units: Sequence[int] = (64, 32),
    activation: Activation = "relu",
    dropout: Dropout = 0.0,
) -> Any:
    """Return the sum of a linear model and dense layers (Cheng et al., 2016).

    The linear model reads the features, with a weight for each code; the dense layers read the features, embedded codes
    and the means of the embedded words of texts.
    """
    from keras import Model, layers  # noqa: PLC0415 - as above

    if not isinstance(output_size, int):
        raise InputError(KEY, f"wide_deep has no outputs of shape {output_size}; use a function of your own")
    columns = column_inputs("wide_deep", input_shape, vocabulary_sizes)
    sizes, features = columns.sizes, [] if columns.features is None else [columns.features]
    deep = [*features, *(embedded(each, sizes[name], embedding_size) for name, each in columns.codes.items())]
    deep += [encoded_text(each, sizes[name], "pooling", embedding_size, 0.0) for name, each in columns.texts.items()]
    wide = [last_layers(output_size)[0](each) for each in features]
    wide += [embedded(each, sizes[name], output_size) for name, each in columns.codes.items()]
    hidden = layers.Concatenate()(deep) if len(deep) > 1 else deep[0]
    hidden = chained([*dense_layers(units, activation, dropout), *last_layers(output_size)], hidden)
    outputs = layers.Add(dtype=hidden.dtype)([hidden, *wide]) if wide else hidden
    return Model(columns.whole, outputs, name="wide_deep")
