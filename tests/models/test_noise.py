"""Hashed noise: distributions, independence, equal bits for every layout, and what draws it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.models.conftest import BACKEND, FEW_RULES, MakeDataset

STEPS, ROWS, UNITS = 40, 50, 60
GLOROT = [-1.0149481296539307, -0.6446799635887146, 0.7379686832427979, 0.20125506818294525]  # of seed 3


def setup_module() -> None:
    """Import what imports Keras: when these tests run, not when they are collected."""
    global keras, layers, ops, block_of_batch, hashed_noise
    import keras
    from keras import layers, ops

    from nightune.models.networks.noise import block_of_batch, hashed_noise


def drawn(draw: Callable[..., Any], count: int = STEPS, seed: int = 11) -> np.ndarray:
    """Return what successive calls draw from one seed generator."""
    generator = keras.random.SeedGenerator(seed)
    with hashed_noise():
        return np.stack([np.asarray(draw(seed=generator)) for _ in range(count)]).astype(np.float64)


def standardized(kept: np.ndarray, mean: float) -> np.ndarray:
    return (kept - mean) / np.sqrt(mean * (1 - mean))


@pytest.mark.parametrize("rate", [0.02, 0.5, 0.9])
def test_masks_have_their_rate_and_are_independent(rate: float) -> None:
    values = drawn(lambda seed: keras.random.dropout(np.ones((ROWS, UNITS), np.float32), rate, seed=seed))
    assert np.unique(values) == pytest.approx([0.0, 1 / (1 - rate)], rel=1e-6)
    signs = standardized(values > 0, 1 - rate)
    assert abs(signs.mean()) * np.sqrt(signs.size) < 4
    for axis in range(3):  # steps, examples, units
        for lag in (1, 2, 5):
            one, other = (np.roll(signs, shift, axis) for shift in (0, lag))
            assert abs((one * other).mean()) * np.sqrt(signs.size) < 4.5
        others = tuple(each for each in range(3) if each != axis)
        sums = signs.sum(axis=others) / np.sqrt(signs.size / signs.shape[axis])
        assert 0.4 < sums.var() < 1.8


def test_masks_of_two_layers_and_of_two_trials_are_independent() -> None:
    def masks(seed: int) -> np.ndarray:
        return standardized(drawn(lambda seed: keras.random.uniform((ROWS, UNITS), seed=seed), seed=seed) < 0.5, 0.5)

    first = masks(0)
    for seed in (1, 2**31 - 1):
        assert abs((first * masks(seed)).mean()) * np.sqrt(first.size) < 4


def test_states_of_many_steps_and_layers_have_different_numbers() -> None:
    firsts = {
        tuple(values.ravel())
        for seed in range(5)
        for values in drawn(lambda seed: keras.random.uniform((2,), seed=seed), 30, seed)
    }
    assert len(firsts) == 150


DISTRIBUTIONS: dict[str, tuple[Callable[..., Any], str, tuple[float, ...]]] = {
    "uniform": (lambda seed: keras.random.uniform((500,), -2.0, 3.0, seed=seed), "uniform", (-2.0, 5.0)),
    "normal": (lambda seed: keras.random.normal((500,), 1.0, 2.0, seed=seed), "norm", (1.0, 2.0)),
    "truncated": (lambda seed: keras.random.truncated_normal((500,), seed=seed), "truncnorm", (-2.0, 2.0)),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("is_fixed", [False, True])
def test_numbers_have_the_distribution_of_keras_function(name: str, is_fixed: bool) -> None:
    from scipy import stats

    draw, distribution, arguments = DISTRIBUTIONS[name]
    with hashed_noise():
        fixed = [np.asarray(draw(seed=seed)) for seed in range(20)] if is_fixed else []
    values = np.concatenate(fixed) if is_fixed else drawn(draw, 20).ravel()
    assert stats.kstest(values, distribution, arguments).pvalue > 1e-3


def test_whole_numbers_are_uniform_and_within_their_bounds() -> None:
    values = drawn(lambda seed: keras.random.randint((3000,), -2, 3, seed=seed), 5)
    counts = np.unique(values, return_counts=True)
    np.testing.assert_array_equal(counts[0], [-2, -1, 0, 1, 2])
    assert np.abs(counts[1] / 3000 - 1).max() < 0.08


def test_all_backends_draw_these_numbers() -> None:
    with hashed_noise():
        generator = keras.random.SeedGenerator(5)
        kept = np.asarray(keras.random.dropout(np.ones(8, np.float32), 0.3, seed=generator))
        weights = np.asarray(keras.initializers.GlorotUniform(seed=3)((2, 2)))
    np.testing.assert_array_equal(kept > 0, [False, True, True, True, True, True, True, True])
    np.testing.assert_allclose(weights.ravel(), GLOROT, rtol=1e-6)


def test_the_bits_do_not_depend_on_the_pieces_or_the_compiler() -> None:
    """From 1,024 numbers on, JAX computes them in pieces, and from 8,192 on in a loop."""
    for count in (1000, 5000, 9001):
        generator = keras.random.SeedGenerator(9)
        with hashed_noise():
            whole = np.asarray(keras.random.uniform((count,), seed=generator))
        np.testing.assert_array_equal(whole[:1000], drawn_first_thousand())
        np.testing.assert_array_equal(compiled_uniform(count), whole)


def drawn_first_thousand() -> np.ndarray:
    with hashed_noise():
        return np.asarray(keras.random.uniform((1000,), seed=keras.random.SeedGenerator(9)))


def compiled_uniform(count: int) -> np.ndarray:
    generator = keras.random.SeedGenerator(9)
    with hashed_noise():
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            return np.asarray(tf.function(lambda: keras.random.uniform((count,), seed=generator), jit_compile=True)())
        import jax

        state = generator.state.value
        return np.asarray(jax.jit(lambda words: keras.random.uniform((count,), seed=words))(state))


def test_a_block_has_the_noise_of_its_rows_in_the_batch() -> None:
    inputs = np.ones((12, 7), np.float32)
    with hashed_noise():
        whole = np.asarray(keras.random.dropout(inputs, 0.4, seed=keras.random.SeedGenerator(2)))
        for first in (0, 4, 8):
            with block_of_batch(4, first):
                part = keras.random.dropout(inputs[:4], 0.4, seed=keras.random.SeedGenerator(2))
            np.testing.assert_array_equal(np.asarray(part), whole[first : first + 4])


LAYERS: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "dropout": (lambda: layers.Dropout(0.3), (4000, 5)),
    "spatial": (lambda: layers.SpatialDropout1D(0.3), (4000, 3, 5)),
    "gaussian noise": (lambda: layers.GaussianNoise(0.3), (4000, 5)),
    "gaussian dropout": (lambda: layers.GaussianDropout(0.3), (4000, 5)),
    "alpha dropout": (lambda: layers.AlphaDropout(0.3), (4000, 5)),
}
MOMENTS = {  # of the outputs for inputs of 1: mean and variance
    "dropout": (1.0, 0.3 / 0.7),
    "spatial": (1.0, 0.3 / 0.7),
    "gaussian noise": (1.0, 0.09),
    "gaussian dropout": (1.0, 0.3 / 0.7),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_draw_hashed_noise_with_their_moments(name: str) -> None:
    make, shape = LAYERS[name]
    layer = make()
    with hashed_noise():
        one, other = (np.asarray(layer(np.ones(shape, np.float32), training=True)) for _ in range(2))
    assert not np.array_equal(one, other)
    np.testing.assert_array_equal(np.asarray(layer(np.ones(shape, np.float32), training=False)), np.ones(shape))
    if name in MOMENTS:
        mean, variance = MOMENTS[name]
        assert abs(one.mean() - mean) < 5 * np.sqrt(variance / one[..., 0].size)
        assert abs(one.var() / variance - 1) < 0.15
    if name == "spatial":
        assert np.ptp(one, axis=1).max() == 0.0  # one draw for all steps of a channel


NETS: dict[str, tuple[Callable[[], list[Any]], tuple[int, ...]]] = {
    "attention": (lambda: [layers.MultiHeadAttention(2, 3, dropout=0.3)], (5, 4)),
    "recurrent": (lambda: [layers.LSTM(4, dropout=0.3, recurrent_dropout=0.2)], (5, 4)),
    "augmentation": (
        lambda: [layers.RandomFlip(), layers.RandomTranslation(0.2, 0.2), layers.RandomContrast(0.3)],
        (6, 6, 3),
    ),
}


@pytest.mark.parametrize("name", NETS)
def test_layers_that_draw_inside_follow_their_streams(name: str) -> None:
    from nightune.models.training.seeds import seed_dropout

    make, shape = NETS[name]
    inputs = keras.Input(shape)
    outputs = inputs
    for layer in make():
        outputs = layer(outputs, outputs) if name == "attention" else layer(outputs)
    model = keras.Model(inputs, outputs)
    data = np.random.default_rng(0).normal(size=(8, *shape)).astype(np.float32)

    def noisy(seed: int) -> np.ndarray:
        seed_dropout(model, seed)
        with hashed_noise():
            return np.asarray(model(data, training=True))

    np.testing.assert_array_equal(noisy(1), noisy(1))
    assert not np.array_equal(noisy(1), noisy(2))


def test_keras_functions_are_left_alone_outside() -> None:
    before = np.asarray(keras.random.normal((3,), seed=1))
    with hashed_noise():
        inside = np.asarray(keras.random.normal((3,), seed=1))
    assert not np.array_equal(before, inside)
    np.testing.assert_array_equal(np.asarray(keras.random.normal((3,), seed=1)), before)


@pytest.mark.skipif(BACKEND not in {"tensorflow", "jax"}, reason="there is no compiled engine")
def test_recurrent_dropout_draws_the_same_in_each_epoch_of_both_engines(
    make_dataset: MakeDataset, recipe: Callable[..., Any], user_model: Callable[[str], str], tmp_path: Path
) -> None:
    from nightune.models.engines.make import make_engine
    from nightune.models.training.loop import train

    reference = user_model(
        """
def build(input_shape, output_size):
    inputs = keras.Input(input_shape)
    hidden = layers.GRU(3, dropout=0.3, recurrent_dropout=0.3)(inputs)
    return keras.Model(inputs, layers.Dense(output_size)(hidden))
"""
    )
    given, data = recipe(**{"model.architecture": reference}), make_dataset(shape=(3, 2))
    fit, compiled = (
        train(engine, given, data, epochs=3, seed=0, monitor="val_loss", direction="minimize")
        for engine in (make_engine(name, data, tmp_path, rules=FEW_RULES) for name in ("fit", BACKEND))
    )
    assert fit.curves["loss"] == pytest.approx(compiled.curves["loss"], rel=1e-4)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="JAX raises by itself")
@pytest.mark.parametrize("seed", ["", ", seed=self.seeds"])
def test_a_program_does_not_draw_from_the_global_generator(
    make_dataset: MakeDataset, recipe: Callable[..., Any], user_model: Callable[[str], str], tmp_path: Path, seed: str
) -> None:
    from nightune.models.engines.choice import choose_engine

    reference = user_model(
        f"""
class Late(layers.Layer):
    def __init__(self):
        super().__init__()
        self.seeds = keras.random.SeedGenerator()
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x, training=None):
        if not training:
            return x
        self.calls.assign_add(1.0)
        return x + ops.where(self.calls > 100, 1.0, 0.0) * keras.random.normal((1,){seed})

def build(input_shape, output_size):
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, layers.Dense(output_size)(Late()(layers.Dense(4)(inputs))))
"""
    )
    given = recipe(**{"model.architecture": reference})
    choice = choose_engine("auto", [given], make_dataset(), tmp_path)
    assert choice.name == ("tensorflow" if seed else "fit")
    assert seed or "SeedGenerator" in choice.reason
