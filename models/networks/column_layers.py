"""Layers for the inputs of a table: word indices of texts, codes, and features. Keras is imported when one is built."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from nightune.models.errors import InputError
from nightune.models.serving.input_trees import ShapeTree
from nightune.models.serving.preprocessing import FEATURES
from nightune.vocabulary import ARCHITECTURE as KEY

Encoder = Literal["pooling", "gru", "transformer"]
HEADS = 2  # of attention; the size of an embedding is divided by it


@dataclass(frozen=True, eq=False)
class ColumnInputs:
    """Keras inputs by column: what a model takes, its numbers, and its texts and codes with their vocabulary sizes."""

    whole: Any  # one input, or a dictionary of them
    features: Any  # None: all columns are texts or codes
    texts: Mapping[str, Any]
    codes: Mapping[str, Any]
    sizes: Mapping[str, int]


def column_inputs(architecture: str, shape: ShapeTree, sizes: Mapping[str, int]) -> ColumnInputs:
    """Return the inputs of a table; InputError for inputs that are no columns, such as arrays of a loader."""
    from keras import Input  # noqa: PLC0415 - Keras takes seconds; a study is checked without it

    if isinstance(shape, tuple):
        if len(shape) != 1:
            raise _other_inputs(architecture, f"an example has the shape {shape}")
        whole = Input(shape, dtype="int32" if sizes else None)
        named = dict.fromkeys(sizes, whole)
        return ColumnInputs(whole, None if sizes else whole, named, {}, sizes)
    others = [name for name in (shape if isinstance(shape, dict) else ()) if name not in sizes and name != FEATURES]
    if not isinstance(shape, dict) or others or not sizes:
        held = ", ".join(map(repr, others)) or "several arrays"
        raise _other_inputs(architecture, f"the data holds {held}, which are none of texts, codes or features")
    inputs = {name: Input(each, name=name, dtype="int32" if name in sizes else None) for name, each in shape.items()}
    texts = {name: inputs[name] for name in sizes if len(shape[name]) == 1}
    codes = {name: inputs[name] for name in sizes if not shape[name]}
    return ColumnInputs(inputs, inputs.get(FEATURES), texts, codes, sizes)


def embedded(inputs: Any, size: int, embedding_size: int) -> Any:
    """Return vectors of codes, (codes, embedding_size)."""
    from keras import layers  # noqa: PLC0415 - as above

    return layers.Embedding(size, embedding_size)(inputs)


def encoded_text(inputs: Any, size: int, encoder: str, embedding_size: int, dropout: float) -> Any:
    """Return one vector of each text, (texts, numbers), from the indices of its words; 0 is masked."""
    from keras import layers  # noqa: PLC0415 - as above

    words = layers.Embedding(size, embedding_size, mask_zero=True)(inputs)
    words = layers.Dropout(dropout)(words) if dropout else words
    if encoder == "gru":
        return layers.GRU(embedding_size)(words)
    if encoder == "transformer":
        words = _transformed(_placed(words, inputs, embedding_size), embedding_size, dropout)
    return layers.GlobalAveragePooling1D()(words)


def _placed(words: Any, inputs: Any, size: int) -> Any:
    """Add a learned vector of each place to the words; places without a word are masked in both, and so in the sum."""
    from keras import layers, ops  # noqa: PLC0415 - as above

    places = ops.cumsum(ops.ones_like(inputs), axis=1) * ops.cast(ops.not_equal(inputs, 0), "int32")
    return layers.Add()([words, layers.Embedding(inputs.shape[1] + 1, size, mask_zero=True)(places)])


def _transformed(words: Any, size: int, dropout: float) -> Any:
    """Return words after attention and after dense layers, normalized behind each (Vaswani et al., 2017)."""
    from keras import layers  # noqa: PLC0415 - as above

    if size % HEADS:
        raise InputError("model.embedding_size", f"{size} is odd; a transformer needs an even number ({HEADS} heads)")
    attended = layers.MultiHeadAttention(HEADS, size // HEADS)(words, words)
    for part in (attended, None):
        change = layers.Dense(size)(layers.Dense(2 * size, activation="relu")(words)) if part is None else part
        change = layers.Dropout(dropout)(change) if dropout else change
        words = layers.LayerNormalization()(layers.Add()([words, change]))
    return words


def _other_inputs(architecture: str, held: str) -> InputError:
    remedy = 'name columns by text or codes in [data], or use a function of your own, "path/to/file.py:function"'
    return InputError(KEY, f"{architecture} takes the columns of a table, and {held}; {remedy}")
