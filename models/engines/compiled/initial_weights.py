"""Draw the initial weights for a seed, bit-equal to those of a model built with it, without building a model.

Two built models show which initializer drew each weight, and which of the seeds that Keras draws from Python's
generator it had. For another seed, the same initializers are called with the seeds that follow from it. An initializer
whose seed the model function fixed is called with the seed derived from the trial's and its own.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from nightune.models.library_internals.models import all_layers, default_seeds
from nightune.models.networks.noise import hashed_noise
from nightune.models.networks.own_seeds import derived_seed

BuildModel = Callable[[int], keras.Model]  # from a seed
SEARCHED_SEEDS = 500  # of those that Keras draws while it builds a model
_FIRST, _SECOND = 20231, 90407  # seeds of the two models: one to match, the other to verify


@dataclass(frozen=True, eq=False)
class Draw:
    """The origin of one weight: a constant, or an initializer with the index of its seed."""

    constant: np.ndarray | None
    initializer: Any = None
    index: int = 0  # of the initializer's seed among the seeds that Keras draws
    own_seed: int | None = None  # the seed that the model function gave the initializer
    shape: tuple[int, ...] = ()
    dtype: str = "float32"


class InitialWeights:
    """Draws the weights of one architecture, in the order of `model.weights`."""

    def __init__(self, build: BuildModel) -> None:
        self._build = build
        first, second = build(_FIRST), build(_SECOND)
        draws = _draws(first, second, _FIRST)
        self._draws = draws if draws and _are_equal(_call(draws, _SECOND), _values(second)) else None

    @property
    def is_drawn(self) -> bool:
        """False if a model must be built to get the weights."""
        return self._draws is not None

    def draw(self, seed: int) -> list[Any]:
        """Return the weights as arrays of the backend or of NumPy, in the order of `model.weights`."""
        return _call(self._draws, seed) if self._draws is not None else _values(self._build(seed))


def _draws(model: keras.Model, other: keras.Model, seed: int) -> list[Draw] | None:
    seeds = list(default_seeds(seed, SEARCHED_SEEDS))
    initializers = list(_initializers(model, seed, seeds))
    draws = []
    for weight, value, other_value in zip(model.weights, _values(model), _values(other), strict=True):
        if np.array_equal(value, other_value):
            draws.append(Draw(value))
            continue
        shape, dtype = tuple(weight.shape), str(weight.dtype)
        found = next((each for each in initializers if _drew(each, shape, dtype, value)), None)
        if found is None:
            return None
        own_seed = getattr(found, "own_seed", None)
        index = seeds.index(found.seed) if own_seed is None else 0
        draws.append(Draw(None, found, index, own_seed, shape, dtype))
    return draws


def _initializers(model: keras.Model, seed: int, numbers: list[int]) -> Iterator[Any]:
    """Yield copies of a model's initializers with the seeds that they drew with."""
    for layer in all_layers(model):
        for value in vars(layer).values():
            if isinstance(value, keras.initializers.Initializer) and isinstance(getattr(value, "seed", None), int):
                initializer: Any = copy.copy(value)
                if initializer.seed not in numbers:
                    initializer.own_seed, initializer.seed = initializer.seed, derived_seed(seed, initializer.seed)
                yield initializer


def _drew(initializer: Any, shape: tuple[int, ...], dtype: str, value: np.ndarray) -> bool:
    try:
        with hashed_noise():
            return np.array_equal(keras.ops.convert_to_numpy(initializer(shape, dtype=dtype)), value)
    except (TypeError, ValueError):  # an initializer for other shapes
        return False


def _call(draws: list[Draw], seed: int) -> list[Any]:
    seeds = list(default_seeds(seed, 1 + max((draw.index for draw in draws), default=0)))
    weights = []
    for draw in draws:
        if draw.constant is None:
            own = draw.own_seed
            draw.initializer.seed = seeds[draw.index] if own is None else derived_seed(seed, own)
            with hashed_noise():
                weights.append(draw.initializer(draw.shape, dtype=draw.dtype))
        else:
            weights.append(draw.constant)
    return weights


def _values(model: keras.Model) -> list[np.ndarray]:
    return [np.array(weight) for weight in model.get_weights()]


def _are_equal(drawn: list[Any], built: list[np.ndarray]) -> bool:
    return all(np.array_equal(keras.ops.convert_to_numpy(one), other) for one, other in zip(drawn, built, strict=True))
