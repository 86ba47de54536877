"""Optimizers by their params, and the weights after their updates."""

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np

from nightune.models.recipe.params import read_recipe
from nightune.models.techniques.optimizers.optimizers import build_optimizer


def stock(**params: Any) -> Any:
    return build_optimizer(read_recipe(params).optimizer)


def with_part(plain: Any, part: Callable[..., Any], *settings: Any) -> Any:
    """Return the optimizer with a part that acts in its update."""
    return part(type(plain), *settings).from_config(plain.get_config())


def passed(
    optimizer: Any, gradients: Iterable[Any], rate: float = 1.0, start: tuple[float, ...] = (1.0,)
) -> np.ndarray:
    """The weights after each update, (updates, weights); a gradient may be a function of the weights."""
    weights = keras.Variable(np.array(start, np.float32))
    optimizer.build([weights])
    optimizer.learning_rate = rate
    reached = []
    for gradient in gradients:
        slope = gradient(weights.numpy()) if callable(gradient) else gradient
        optimizer.apply([keras.ops.convert_to_tensor(np.broadcast_to(np.float32(slope), weights.shape))], [weights])
        reached.append(weights.numpy().astype(np.float64))
    return np.array(reached)
