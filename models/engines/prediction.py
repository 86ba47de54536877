"""Predict in slices of examples whose activations fit into memory."""

from typing import Any

import keras
import numpy as np

from nightune.models.serving.input_trees import ArrayTree, arrays_of, in_memory, row_count, rows_of
from nightune.models.serving.predictor import Predictor

PREDICTION_BYTES = 2**24  # of inputs per call; activations take a multiple of it


def prediction_spans(inputs: ArrayTree | Any) -> list[slice]:
    """Return the slices of examples to predict at a time, so that activations fit into memory.

    `inputs` are arrays or tensors of any backend.
    """
    arrays = arrays_of(inputs)
    count = int(arrays[0].shape[0])
    bytes_per_example = max(1, sum(_item_bytes(array) * int(np.prod(array.shape[1:])) for array in arrays))
    size = min(4096, max(32, PREDICTION_BYTES // bytes_per_example))
    return [slice(start, min(count, start + size)) for start in range(0, count, size)]


def predict(model: keras.Model, inputs: ArrayTree) -> np.ndarray:
    """Return outputs in inference mode, (examples, size); `model.predict` costs many times more."""
    parts = [model.predict_on_batch(in_memory(rows_of(inputs, span))) for span in prediction_spans(inputs)]
    return np.concatenate(parts).reshape(row_count(inputs), -1).astype(np.float32, copy=False)


def outputs_of(predictor: Predictor, inputs: ArrayTree) -> np.ndarray:
    """Return the outputs of a model as it serves, (examples, size)."""
    parts = [predictor.outputs(in_memory(rows_of(inputs, span))) for span in prediction_spans(inputs)]
    return np.concatenate(parts)


def _item_bytes(array: Any) -> int:
    return int(array.dtype.itemsize if hasattr(array.dtype, "itemsize") else array.dtype.size)
