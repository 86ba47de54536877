"""The text of a small model for inputs of a shape: dense layers for rows, convolutions for series and images."""

from nightune.models.data.dataset import Dataset
from nightune.models.errors import InputError

_HEAD = '''"""{what}

Change it as you like: `nightune check` says whether it can be trained. Every argument but the first two can be fixed
or searched in [model] of the study.
"""


def build(
    input_shape: tuple[int, ...],
    output_size: int,
    width: int = 32,
    depth: int = 2,
    dropout: float = 0.0,
):
    """Return a model from inputs of this shape to {outputs}."""
    import keras  # inside the function: `nightune check --no-build` then need not load it
    from keras import layers

    inputs = keras.Input(input_shape)
    hidden = {first}
    for _ in range(depth):
'''
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
OUTPUTS = {
    "binary": "one logit of two classes",
    "multiclass": "a logit for each class",
    "multilabel": "a logit for each label",
    "regression": "the predicted quantities",
}


def model_text(dataset: Dataset) -> str:
    """Return a module with a function `build` that makes a small model for the data.

    InputError for several inputs, and for targets of several axes.
    """
    shape = dataset.input_shape
    if not isinstance(shape, tuple):
        raise InputError("DATA", "it has several input arrays; write a model as in docs/bring-your-model.md")
    if isinstance(dataset.output_size, tuple):
        remedy = "write a model as in docs/bring-your-model.md#targets-of-several-axes"
        raise InputError("DATA", f"its targets have the shape {dataset.output_size}; {remedy}")
    rank = len(shape) - 1
    if rank in (1, 2):
        what = f"A small convolutional network for {'series' if rank == 1 else 'images'} of shape {shape}."
        first, body = "inputs", _CONVOLUTION.format(rank=rank)
    else:
        what = f"A small dense network for {shape[0] if rank == 0 else shape} numbers."
        first, body = "inputs" if rank == 0 else "layers.Flatten()(inputs)", _DENSE
    return _HEAD.format(what=what, outputs=OUTPUTS[dataset.task], first=first) + body + _LAST
