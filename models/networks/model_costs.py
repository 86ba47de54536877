"""What a model costs where it serves: its parameters, the size of its weights, and its latency on the CPU."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from nightune.models.networks.row_losses import latency_ms
from nightune.models.serving.predictor import Predictor


def costs_of_weights(weights: Sequence[np.ndarray]) -> dict[str, float]:
    """Return the number of values in all weights, trained or not, and their size in MB of 10^6 bytes.

    The file of a model is some kilobytes larger: its layers are described there, too.
    """
    size = sum(weight.nbytes for weight in weights)
    return {"parameters": float(sum(weight.size for weight in weights)), "size_mb": size / 1e6}


def cpu_latency_ms(opened: Callable[[], Predictor], raw: Any) -> float:
    """Return the milliseconds from one raw row to its prediction on the CPU, by a model that `opened` makes there."""
    with keras.device("cpu:0"):
        return latency_ms(opened(), raw)
