"""Predict in slices of examples whose activations fit into memory."""

from typing import Any

import keras
import numpy as np

PREDICTION_BYTES = 2**24  # of inputs per call; activations take a multiple of it


def prediction_spans(inputs: np.ndarray | Any) -> list[slice]:
    """Return the slices of examples to predict at a time, so that activations fit into memory."""
    count = int(inputs.shape[0])
    bytes_per_example = max(1, inputs.dtype.itemsize * int(np.prod(inputs.shape[1:])))
    size = min(4096, max(32, PREDICTION_BYTES // bytes_per_example))
    return [slice(start, min(count, start + size)) for start in range(0, count, size)]


def predict(model: keras.Model, inputs: np.ndarray) -> np.ndarray:
    """Return outputs in inference mode, (examples, size); `model.predict` costs many times more."""
    bytes_per_example = max(1, inputs.nbytes // len(inputs))
    size = min(4096, max(32, PREDICTION_BYTES // bytes_per_example))
    parts = [model.predict_on_batch(np.asarray(inputs[start : start + size])) for start in range(0, len(inputs), size)]
    return np.concatenate(parts).reshape(len(inputs), -1).astype(np.float32, copy=False)
