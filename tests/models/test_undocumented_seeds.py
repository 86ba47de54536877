"""Names of seeds and random numbers that Keras does not document: each behaves as we use it."""

import random

import numpy as np

from tests.models.undocumented import BATCH, net, undocumented


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras, layers, ops, models, seed_dropout, drawn_states
    import keras
    from keras import layers, ops

    from nightune.models.library_internals import models
    from nightune.models.library_internals.random_numbers import drawn_states
    from nightune.models.training.seeds import seed_dropout


@undocumented(
    "Keras", "SeedGenerator: seed_generator_state", "seeding dropout", "library_internals.models.random_states"
)
def test_random_states_are_found_by_their_name_and_start_the_noise() -> None:
    model = net(layers.Dropout(0.5), layers.GaussianNoise(1.0))
    noise = []
    for seed in (1, 1, 2):
        seed_dropout(model, seed)
        noise.append(ops.convert_to_numpy(model(BATCH, training=True)))
    assert len(models.random_states(model)) == 2
    assert np.array_equal(noise[0], noise[1])
    assert not np.array_equal(noise[0], noise[2])


@undocumented(
    "Keras", "SeedGenerator.next, .state", "streams of a model", "library_internals.random_numbers.drawn_states"
)
def test_each_draw_of_a_seed_generator_is_seen() -> None:
    own = keras.random.SeedGenerator(1)
    with drawn_states() as states:
        keras.random.normal((2,), seed=own)
        keras.random.normal((2,), seed=1)
        keras.random.gamma((2,), 1.0, seed=own)
        keras.random.uniform((2,))
        layers.Dropout(0.5)(BATCH, training=True)
    assert [state is own.state for state in states] == [True, True, False, False]


@undocumented("Keras", "make_default_seed", "drawing weights without a model", "library_internals.models.default_seeds")
def test_default_seeds_come_from_pythons_generator() -> None:
    before = random.getstate()
    keras.utils.set_random_seed(7)
    taken = [keras.initializers.GlorotUniform().seed for _ in range(3)]
    random.setstate(before)
    assert taken == list(models.default_seeds(7, 3))


@undocumented(
    "Keras", "backend.random.draw_seed", "seeds that users fix", "library_internals.models.replacing_fixed_seeds"
)
def test_all_random_numbers_come_from_one_function_of_their_seed() -> None:
    shape = (2, 3)
    draws = [
        lambda seed: keras.initializers.HeNormal(seed=seed)(shape),
        lambda seed: keras.initializers.Orthogonal(seed=seed)(shape),
        lambda seed: keras.initializers.RandomUniform(seed=keras.random.SeedGenerator(seed))(shape),
        lambda seed: keras.random.normal(shape, seed=seed),
        lambda seed: keras.random.truncated_normal(shape, seed=seed),
        lambda seed: keras.random.randint(shape, 0, 10**6, seed=seed),
    ]
    for draw in draws:
        with models.replacing_fixed_seeds(lambda seed: seed + 1):
            replaced = np.asarray(draw(1))
        np.testing.assert_array_equal(replaced, np.asarray(draw(2)))


@undocumented("Keras", "Initializer.seed", "drawing weights of another seed", "engines.compiled.initial_weights.Draw")
def test_an_initializer_reads_its_seed_at_each_call() -> None:
    one, other = keras.initializers.GlorotUniform(seed=1), keras.initializers.GlorotUniform(seed=2)
    one.seed = 2
    assert np.array_equal(*(ops.convert_to_numpy(initializer((3, 2))) for initializer in (one, other)))
