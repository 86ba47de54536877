"""Find initial weights that do not follow the seed: values of the model function's own, or loaded from a file.

Trainings with other seeds then begin alike, and differ by the order of the examples and by noise only.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

BuildModel = Callable[[int], Any]  # from a seed to a Keras model
_FIRST, _SECOND = 20231, 90407  # two different seeds


@dataclass(frozen=True)
class FixedWeights:
    """The layers whose initial weights are the same for all seeds, and whether no trained weight follows the seed."""

    layers: tuple[str, ...] = ()
    are_all: bool = False

    @property
    def said(self) -> str:
        """The layers, in words."""
        shown, more = ", ".join(self.layers[:3]), len(self.layers) - 3
        return f"{shown} and {more} more" if more > 0 else shown


def find_fixed_weights(build: BuildModel) -> FixedWeights:
    """Build a model with two seeds, and compare the weights that are trained.

    Weights with at most two different values, such as biases that begin at zero, are not drawn by any seed.
    """
    models = []
    for seed in (_FIRST, _SECOND):
        keras.backend.clear_session(free_memory=False)  # layers are numbered from the start
        models.append(build(seed))
    layers, follow = [], False
    for one, other in zip(models[0].trainable_variables, models[1].trainable_variables, strict=True):
        value = np.asarray(one)
        if not np.array_equal(value, np.asarray(other)):
            follow = True
        elif value.size and ((value != value.min()) & (value != value.max())).any():
            path = one.path.removeprefix(f"{models[0].name}/")
            layers.append(path.rpartition("/")[0] or path)
    return FixedWeights(tuple(dict.fromkeys(layers)), are_all=bool(layers) and not follow)
