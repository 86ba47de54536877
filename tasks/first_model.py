"""The text of a small model for inputs of a shape: dense layers for rows, convolutions for series and images."""

from nightune.models.data.dataset import Dataset
from nightune.models.errors import InputError

_HEAD = '''"""{what}

Change it as you like: `nightune check` says whether it can be trained. Every argument but {given} can be fixed
or searched in [model] of the study.
"""


def build(
{arguments}
    width: int = 32,
    depth: int = 2,
    dropout: float = 0.0,
):
    """Return a model from inputs of this shape to {outputs}."""
    import keras  # inside the function: `nightune check --no-build` then need not load it
    from keras import layers

'''
_OF_ARRAY = "    input_shape: tuple[int, ...],\n    output_size: int,"
_OF_COLUMNS = "    input_shape: dict | tuple,\n    output_size: int,\n    vocabulary_sizes: dict,"
_FIRST = """    inputs = keras.Input(input_shape)
    hidden = {first}
    for _ in range(depth):
"""
_DENSE = """        hidden = layers.Dense(width, activation="relu")(hidden)
        hidden = layers.Dropout(dropout)(hidden)
"""
_CONVOLUTION = """        hidden = layers.Conv{rank}D(width, 3, padding="same", activation="relu")(hidden)
        hidden = layers.MaxPooling{rank}D(2, padding="same")(hidden)
    hidden = layers.GlobalAveragePooling{rank}D()(hidden)
    hidden = layers.Dropout(dropout)(hidden)
"""
_LAST = """    return keras.Model(inputs, layers.Dense(output_size)(hidden))  # logits
"""
_COLUMNS = """    is_one = not isinstance(input_shape, dict)
    shapes = dict.fromkeys(vocabulary_sizes, input_shape) if is_one else input_shape
    inputs = {name: keras.Input(shape, name=name) for name, shape in shapes.items()}
    parts = []
    for name, part in inputs.items():
        if name in vocabulary_sizes:  # indices of the words of a text, or one code
            is_text = len(shapes[name]) == 1
            part = layers.Embedding(vocabulary_sizes[name], width, mask_zero=is_text)(part)
            part = layers.GlobalAveragePooling1D()(part) if is_text else part
        parts.append(part)
    hidden = layers.Concatenate()(parts) if len(parts) > 1 else parts[0]
    for _ in range(depth):
"""
_LAST_OF_COLUMNS = """    whole = next(iter(inputs.values())) if is_one else inputs
    return keras.Model(whole, layers.Dense(output_size)(hidden))  # logits
"""
OUTPUTS = {
    "binary": "one logit of two classes",
    "multiclass": "a logit for each class",
    "multilabel": "a logit for each label",
    "positions": "a logit for each class at each position",
    "regression": "the predicted quantities",
}


def model_text(dataset: Dataset) -> str:
    """Return a module with a function `build` that makes a small model for the data.

    InputError for several inputs, and for targets of several axes.
    """
    shape, outputs = dataset.input_shape, OUTPUTS[dataset.task]
    if not isinstance(shape, tuple) and not dataset.vocabulary_sizes:
        raise InputError("DATA", "it has several input arrays; write a model as in docs/bring-your-model.md")
    if isinstance(dataset.output_size, tuple):
        remedy = "write a model as in docs/bring-your-model.md#targets-of-several-axes"
        raise InputError("DATA", f"its targets have the shape {dataset.output_size}; {remedy}")
    if dataset.vocabulary_sizes:
        what = f"A small network with embeddings of {', '.join(dataset.vocabulary_sizes)}."
        head = _HEAD.format(what=what, outputs=outputs, given="the first three", arguments=_OF_COLUMNS)
        return head + _COLUMNS + _DENSE + _LAST_OF_COLUMNS
    assert isinstance(shape, tuple)
    rank = len(shape) - 1
    if rank in (1, 2):
        what = f"A small convolutional network for {'series' if rank == 1 else 'images'} of shape {shape}."
        first, body = "inputs", _CONVOLUTION.format(rank=rank)
    else:
        what = f"A small dense network for {shape[0] if rank == 0 else shape} numbers."
        first, body = "inputs" if rank == 0 else "layers.Flatten()(inputs)", _DENSE
    head = _HEAD.format(what=what, outputs=outputs, given="the first two", arguments=_OF_ARRAY)
    return head + _FIRST.format(first=first) + body + _LAST
