"""Initial weights of model functions that fix seeds themselves."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.models.conftest import BACKEND


def setup_module() -> None:
    """Import what imports Keras: when these tests run, not when they are collected."""
    global InitialWeights, build_model, hashed_noise
    from nightune.models.engines.compiled.initial_weights import InitialWeights
    from nightune.models.networks.architectures import build_model
    from nightune.models.networks.noise import hashed_noise


NET = "return keras.Sequential([keras.Input(input_shape), layers.Dense(4{}), layers.Dense(output_size{})])"
BODIES = {
    "Keras' global seed": "keras.utils.set_random_seed(42)\n    " + NET.format("", ""),
    "a seed of an initializer": NET.format(
        ", kernel_initializer=keras.initializers.GlorotUniform(seed=1)",
        ", kernel_initializer=keras.initializers.Orthogonal(seed=1)",
    ),
    "a seed in a configuration": NET.format(
        *(", kernel_initializer={'class_name': 'HeNormal', 'config': {'seed': 3}}",) * 2
    ),
    "an initializer of the module": NET.format(*(", kernel_initializer=SHARED",) * 2),
    "a seed generator": NET.format(
        *(", kernel_initializer=keras.initializers.HeNormal(seed=keras.random.SeedGenerator(5))",) * 2
    ),
    "a function of Keras": NET.format(
        *(", kernel_initializer=lambda shape, dtype=None: keras.random.normal(shape, seed=3)",) * 2
    ),
    "NumPy's global seed": "np.random.seed(0)\n    "
    + NET.format(*(", kernel_initializer=lambda shape, dtype=None: np.random.normal(size=shape)",) * 2),
    "Python's global seed": "random.seed(0)\n    " + NET.format("", ""),
    "Python's seed of the clock": "random.seed()\n    " + NET.format("", ""),
}
if BACKEND == "tensorflow":
    BODIES["TensorFlow's global seed"] = "import tensorflow as tf\n    tf.random.set_seed(7)\n    " + NET.format(
        *(", kernel_initializer=lambda shape, dtype=None: tf.random.normal(shape)",) * 2
    )


def builder(body: str, user_model: Callable[[str], str], folder: Path) -> Callable[[int], Any]:
    shared = "import random\nimport numpy as np\nSHARED = keras.initializers.HeNormal(seed=2)\n\n\n"
    reference = user_model(f"{shared}def build(input_shape, output_size):\n    {body}\n")
    return lambda seed: build_model(reference, {}, (5,), 3, folder=folder, seed=seed)


@pytest.mark.parametrize("kind", BODIES)
def test_weights_follow_the_seed_whatever_the_function_fixes(
    kind: str, user_model: Callable[[str], str], tmp_path: Path
) -> None:
    build = builder(BODIES[kind], user_model, tmp_path)
    one, same, other = (build(seed).get_weights() for seed in (1, 1, 2))
    for first, again, different in zip(one[::2], same[::2], other[::2], strict=True):
        np.testing.assert_array_equal(first, again)
        assert not np.any(first == different)
    drawn = InitialWeights(build).draw(2)
    for expected, weight in zip(other, drawn, strict=True):
        np.testing.assert_array_equal(expected, np.asarray(weight))


def test_seeds_of_initializers_are_drawn_without_a_build(user_model: Callable[[str], str], tmp_path: Path) -> None:
    assert InitialWeights(builder(BODIES["a seed of an initializer"], user_model, tmp_path)).is_drawn


def test_equal_seeds_within_a_model_stay_equal(user_model: Callable[[str], str], tmp_path: Path) -> None:
    body = """inputs = keras.Input(input_shape)
    towers = [layers.Dense(4, kernel_initializer=keras.initializers.HeNormal(seed=7))(inputs) for _ in range(2)]
    return keras.Model(inputs, layers.Dense(output_size)(layers.Add()(towers)))"""
    weights = builder(body, user_model, tmp_path)(3).get_weights()
    np.testing.assert_array_equal(weights[0], weights[2])


DRAWN: dict[str, Callable[[], int]] = {
    "random.randint(0, 99)": lambda: random.randint(0, 99),
    "random.getrandbits(31)": lambda: random.getrandbits(31),
    "int(np.random.randint(99))": lambda: int(np.random.randint(99)),
}


@pytest.mark.parametrize("drawn", DRAWN)
def test_functions_that_fix_no_seed_begin_as_their_initializers_do(
    drawn: str, user_model: Callable[[str], str], tmp_path: Path
) -> None:
    import keras

    last = ", kernel_initializer=keras.initializers.HeNormal(seed=seed)"
    weights = builder(f"seed = {drawn}\n    {NET.format('', last)}", user_model, tmp_path)(4).get_weights()
    keras.utils.set_random_seed(4)
    seed = DRAWN[drawn]()
    initializers = keras.initializers.GlorotUniform(), keras.initializers.HeNormal(seed=seed)
    with hashed_noise():
        for weight, initializer in zip(weights[::2], initializers, strict=True):
            np.testing.assert_array_equal(weight, np.asarray(initializer(weight.shape)))


def test_random_numbers_outside_a_build_keep_their_seeds(user_model: Callable[[str], str], tmp_path: Path) -> None:
    import keras

    builder(BODIES["Keras' global seed"], user_model, tmp_path)(1)
    random.seed(5)
    np.random.seed(5)
    assert (random.random(), np.random.rand()) == (random.Random(5).random(), np.random.RandomState(5).rand())
    one = keras.random.normal((2,), seed=3)
    np.testing.assert_array_equal(np.asarray(one), np.asarray(keras.random.normal((2,), seed=3)))
