"""Which models couple the examples of a batch, and which draw random numbers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightune.models.engines.make import make_engine
from nightune.models.techniques.losses import TrainingSettings
from nightune.models.training.loop import train
from tests.models.conftest import BACKEND, FEW_RULES

ROWS = np.random.default_rng(0).normal(size=(24, 6)).astype(np.float32)
IMAGES = np.random.default_rng(1).uniform(size=(24, 8, 8, 3)).astype(np.float32)


def setup_module() -> None:
    """Import Keras, which takes seconds."""
    global keras, layers, ops, depends_on_other_rows, is_known_by_example, is_separable, is_noisy
    global TrainingRows, try_build
    import keras
    from keras import layers, ops

    from nightune.models.engines.keras_parts.model_traits import is_noisy
    from nightune.models.networks.coupling import depends_on_other_rows, is_known_by_example, is_separable
    from nightune.models.networks.training_rows import TrainingRows
    from nightune.models.networks.trial_build import try_build


def net(make: Callable[[Any], Any], rows: np.ndarray = ROWS) -> Any:
    """A model of what is made of its inputs; its last layer is dense."""
    inputs = keras.Input(rows.shape[1:])
    hidden = make(inputs)
    hidden = layers.Flatten()(hidden) if len(hidden.shape) > 2 else hidden
    return keras.Model(inputs, layers.Dense(2)(hidden))


KNOWN: dict[str, Callable[[], Any]] = {
    "dense": lambda: layers.Dense(4, activation="relu"),
    "normalization of layers": lambda: lambda x: layers.Dropout(0.1)(layers.LayerNormalization()(x)),
    "recurrent": lambda: lambda x: layers.LSTM(3)(layers.Reshape((3, 2))(x)),
    "attention": lambda: lambda x: layers.MultiHeadAttention(1, 2, dropout=0.1)(*[layers.Reshape((3, 2))(x)] * 2),
}
INDEPENDENT: dict[str, Callable[[], Any]] = {
    "residual": lambda: lambda x: x + layers.Dense(6)(x),
    "mean of columns": lambda: lambda x: x - ops.mean(x, axis=1, keepdims=True),
    "own function": lambda: layers.Dense(4, activation=lambda z: z * ops.sigmoid(z)),
    "Lambda": lambda: layers.Lambda(lambda z: z * 2, output_shape=(6,)),
    "rescaling": lambda: layers.Rescaling(0.5),
    "noise": lambda: lambda x: layers.Lambda(lambda z: z * 2, output_shape=(6,))(layers.GaussianNoise(0.1)(x)),
}
COUPLED: dict[str, Callable[[], Any]] = {
    "mean of rows": lambda: lambda x: x - ops.mean(x, axis=0, keepdims=True),
    "roll": lambda: lambda x: x + ops.roll(x, 1, axis=0),
    "similarity": lambda: lambda x: ops.matmul(ops.matmul(x, ops.transpose(x)), x),
    "sorting": lambda: lambda x: ops.sort(x, axis=0),
    "number of rows": lambda: layers.Lambda(lambda z: z / ops.cast(ops.shape(z)[0], "float32")),
    "gate that starts at 0": lambda: lambda x: x + layers.Dense(6, kernel_initializer="zeros")(ops.roll(x, 1, axis=0)),
    "Lambda": lambda: layers.Lambda(lambda z: z - ops.mean(z, axis=0), output_shape=(6,)),
    "own activation": lambda: layers.Dense(4, activation=lambda z: ops.softmax(z, axis=0)),
    "softmax over rows": lambda: layers.Softmax(axis=0),
    "softmax over rows, counted from the end": lambda: layers.Softmax(axis=-2),
    "one row for all": lambda: lambda x: x + ops.take(x, [0], axis=0),
    "inside a model": lambda: net(lambda z: z - ops.max(z, axis=0)),
}
TRAINED: dict[str, Callable[[], Any]] = {
    "batch normalization": lambda: layers.BatchNormalization(momentum=0.9),
    "spectral normalization": lambda: layers.SpectralNormalization(layers.Dense(4)),
    "regularized activity": lambda: layers.Dense(2, activity_regularizer="l2"),
}


@pytest.mark.parametrize("name", KNOWN)
def test_layers_of_keras_need_no_measurement(name: str) -> None:
    model = net(KNOWN[name]())
    assert is_known_by_example(model)
    assert is_separable(model, ROWS)
    assert not depends_on_other_rows(model, ROWS, training=True)


@pytest.mark.parametrize("name", INDEPENDENT)
def test_operations_on_each_row_couple_nothing(name: str) -> None:
    model = net(INDEPENDENT[name]())
    assert not is_known_by_example(model)
    assert is_separable(model, ROWS)


@pytest.mark.parametrize("name", COUPLED)
def test_operations_on_the_axis_of_the_batch_couple_its_examples(name: str) -> None:
    model = net(COUPLED[name]())
    assert not is_known_by_example(model)
    assert not is_separable(model, ROWS)
    assert depends_on_other_rows(model, ROWS, training=False)


@pytest.mark.parametrize("name", TRAINED)
def test_layers_that_couple_only_in_training_are_not_coupled_in_inference(name: str) -> None:
    model = net(TRAINED[name]())
    assert not is_separable(model, ROWS)
    assert not depends_on_other_rows(model, ROWS, training=False)


def test_mixing_of_images_couples_and_flipping_does_not() -> None:
    assert not is_separable(net(layers.MixUp(), IMAGES), IMAGES)
    assert is_separable(net(lambda x: layers.RandomRotation(0.1)(layers.RandomFlip()(x)), IMAGES), IMAGES)


def test_layers_and_models_of_ones_own_may_do_anything_with_a_batch() -> None:
    class Own(keras.layers.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs

    class Centred(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(2)

        def call(self, inputs: Any) -> Any:
            return self.dense(inputs - ops.mean(inputs, axis=0))

    assert not is_separable(net(Own()), ROWS)
    assert not depends_on_other_rows(net(Own()), ROWS, training=False)
    assert depends_on_other_rows(Centred(), ROWS, training=False)


def test_a_measurement_leaves_the_model_as_it_was() -> None:
    model = net(lambda x: layers.BatchNormalization()(layers.Dropout(0.5)(x)))
    before = [np.array(variable) for variable in model.variables]
    depends_on_other_rows(model, ROWS, training=True)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(np.array(variable), value)


def test_too_few_rows_to_tell_count_as_dependent() -> None:
    assert depends_on_other_rows(net(KNOWN["dense"]()), ROWS[:2], training=False)


def test_recurrent_layers_are_noisy_only_with_dropout() -> None:
    def recurrent(**rates: float) -> Any:
        return net(lambda x: layers.Bidirectional(layers.GRU(2, **rates))(layers.Reshape((3, 2))(x)))

    assert not is_noisy(recurrent())
    assert is_noisy(recurrent(dropout=0.1))
    assert is_noisy(recurrent(recurrent_dropout=0.1))
    assert is_noisy(net(layers.GaussianNoise(0.1)))
    assert is_noisy(net(lambda x: layers.Dropout(0.1)(layers.LSTM(2)(layers.Reshape((3, 2))(x)))))
    assert not is_noisy(net(KNOWN["dense"]()))


def test_a_compiled_program_trains_coupled_batches_of_several_sizes_as_fit_does(
    make_dataset: Callable[..., Any], recipe: Callable[..., Any], user_model: Callable[[str], str], tmp_path: Path
) -> None:
    reference = user_model(
        """
def build(input_shape, output_size):
    inputs = keras.Input(input_shape)
    x = layers.Dense(4, activation="relu")(inputs)
    return keras.Model(inputs, layers.Dense(output_size)(x - ops.mean(x, axis=0, keepdims=True)))
"""
    )
    dataset = make_dataset()
    given = recipe(**{"optimizer": "sgd", "model.architecture": reference, "batch_size.size": 5})
    fit, compiled = make_engine("fit", dataset, tmp_path), make_engine(BACKEND, dataset, tmp_path, rules=FEW_RULES)
    ends = [
        train(engine, given, dataset, epochs=2, seed=0, monitor="val_loss", direction="minimize").weights
        for engine in (fit, compiled)
    ]
    for one, other in zip(*ends, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_predictions_that_depend_on_each_other_are_said_before_training(
    make_dataset: Callable[..., Any], user_model: Callable[[str], str], tmp_path: Path
) -> None:
    reference = user_model(
        """
def build(input_shape, output_size, axis: int = 0):
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, layers.Dense(output_size)(inputs - ops.mean(inputs, axis=axis, keepdims=True)))
"""
    )
    rows = TrainingRows.of(make_dataset())
    said = [try_build(reference, {"axis": axis}, TrainingSettings(), rows, tmp_path).head.remarks for axis in (0, 1)]
    assert "depend on the other rows" in said[0][0]
    assert said[1] == ()
