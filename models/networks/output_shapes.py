"""The shape of a model's outputs: of one tensor, from its graph or from a call on a few rows."""

from typing import Any

import keras
import numpy as np
from keras import ops

from nightune.models.errors import InputError
from nightune.models.networks.output_ranges import SUM_APART
from nightune.models.networks.output_walk import has_graph
from nightune.models.networks.training_rows import TrainingRows
from nightune.models.serving.input_trees import ArrayTree
from nightune.vocabulary import ARCHITECTURE


def output_shape(model: keras.Model, sample: ArrayTree) -> tuple[int | None, ...]:
    """Return the shape of the outputs, examples first; builds a model without a graph.

    InputError if the model returns a dictionary, also of a single tensor, or another structure.
    """
    outputs: Any = getattr(model, "output", None) if has_graph(model) else model(sample)
    if isinstance(outputs, dict):
        names = ", ".join(map(repr, outputs))
        remedy = f"return the tensor itself, such as keras.Model(inputs, outputs[{next(iter(outputs), '')!r}])"
        raise InputError(ARCHITECTURE, f"the model returns a dictionary of outputs ({names}); {remedy}")
    if isinstance(outputs, list | tuple) and not has_graph(model):
        held = f"a {type(outputs).__name__} of {len(outputs)} outputs"
        raise InputError(ARCHITECTURE, f"the model returns {held}; return one tensor")
    return tuple(model.output_shape if has_graph(model) else outputs.shape)


def settled_shape(model: keras.Model, rows: TrainingRows) -> tuple[int, ...]:
    """Return the shape of an example's outputs, of axes of any length that for a few rows."""
    shape = output_shape(model, rows.two)[1:]
    if None in shape:
        shape = tuple(model(rows.two, training=False).shape)[1:]
    return tuple(int(length or 0) for length in shape)


def refuse_class_at_each_position(model: keras.Model, rows: TrainingRows, kind: str, shape: tuple[int, ...]) -> None:
    """Refuse outputs that are a distribution over their last axis, for labels that each have a loss of their own."""
    if kind != "labels" or len(shape) < 2 or shape[-1] == 1:
        return
    outputs: Any = ops.convert_to_numpy(model(rows.inputs, training=False))
    sums = np.asarray(outputs, np.float64).sum(axis=-1)
    if np.all(np.abs(sums - 1.0) < SUM_APART):
        remedy = 'for a class at each position set task = "classification" in [data]; else use sigmoid or no activation'
        raise InputError(ARCHITECTURE, f"the model has outputs {shape} that sum to 1 over their last axis; {remedy}")
