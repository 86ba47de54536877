"""Batch normalization of a padded batch, over its real rows: equal to Keras' over the batch by itself."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nightune.models.engines.make import make_engine
from nightune.models.recipe.recipe import Recipe
from nightune.models.training.engine import COMPILED_ENGINES
from nightune.models.training.seeds import Seeds
from tests.models.conftest import BACKEND, FEW_RULES, MakeDataset, MakePlan


def setup_module() -> None:
    """Import Keras when these tests run, not when they are collected."""
    global keras, layers, statistics_of_rows, normalizations_alone
    import keras
    from keras import layers

    from nightune.models.engines.keras_parts.masked_statistics import statistics_of_rows
    from nightune.models.networks.coupling import normalizations_alone


MakeRecipe = Callable[..., Recipe]
RANDOM = np.random.default_rng(0)

CASES: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "features": ((5,), {}),
    "one feature": ((1,), {}),
    "images": ((4, 3, 2), {"momentum": 0.5}),
    "channels first": ((2, 4, 3), {"axis": 1}),
    "renormalized": ((3,), {"renorm": True}),
    "without scale": ((3,), {"scale": False, "center": False}),
}


@pytest.mark.parametrize("offset", [0.0, 100.0])
@pytest.mark.parametrize("name", CASES)
def test_rows_of_padding_change_neither_outputs_nor_moving_averages(name: str, offset: float) -> None:
    shape, options = CASES[name]
    rows = (offset + RANDOM.normal(size=(6, *shape))).astype(np.float32)
    padded = np.concatenate([rows, 7.0 * rows[:2] - 3.0])

    def normalized(inputs: np.ndarray, is_real: list[bool] | None) -> tuple[list[np.ndarray], np.ndarray]:
        layer = layers.BatchNormalization(**options)
        model = keras.Sequential([keras.Input(shape), layer])
        with statistics_of_rows([layer], None if is_real is None else keras.ops.convert_to_tensor(is_real)):
            outputs = keras.ops.convert_to_numpy(model(inputs, training=True))
        assert "_moments" not in vars(layer)
        return [outputs[: len(rows)], *model.get_weights()], keras.ops.convert_to_numpy(model(rows))

    expected, expected_inference = normalized(rows, None)
    found, found_inference = normalized(padded, [True] * 6 + [False] * 2)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5 * max(1.0, offset))
    np.testing.assert_allclose(found_inference, expected_inference, rtol=1e-4, atol=1e-4)


def test_a_mask_of_keras_counts_as_well() -> None:
    rows = RANDOM.normal(size=(4, 3, 2)).astype(np.float32)
    rows[1, 2] = rows[3, 1:] = 0.0

    def normalized(inputs: np.ndarray, is_real: list[bool] | None) -> list[np.ndarray]:
        layer = layers.BatchNormalization()
        model = keras.Sequential([keras.Input((3, 2)), layers.Masking(), layer])
        with statistics_of_rows([layer], None if is_real is None else keras.ops.convert_to_tensor(is_real)):
            outputs = keras.ops.convert_to_numpy(model(inputs, training=True))
        return [outputs[: len(rows)], *model.get_weights()]

    padded = np.concatenate([rows, rows[:3] + 1.0])
    for one, other in zip(normalized(padded, [True] * 4 + [False] * 3), normalized(rows, None), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


def net(*middle: Any) -> Any:
    return keras.Sequential([keras.Input((4, 4)), *middle, layers.Flatten(), layers.Dense(2)])


def test_only_plain_batch_normalization_among_known_layers_can_be_masked() -> None:
    class Own(layers.BatchNormalization):
        pass

    two = net(layers.BatchNormalization(), layers.Dense(3, "relu"), layers.Dropout(0.2), layers.BatchNormalization())
    assert len(normalizations_alone(two)) == 2
    assert normalizations_alone(net()) == []
    for others in (
        [Own()],
        [layers.BatchNormalization(), Own()],
        *([[layers.BatchNormalization(synchronized=True)]] if BACKEND == "tensorflow" else []),
        [layers.BatchNormalization(axis=-2)],
        [layers.BatchNormalization(), layers.Lambda(lambda x: x)],
        [layers.BatchNormalization(), layers.Dense(2, activity_regularizer="l2")],
        [layers.TimeDistributed(layers.BatchNormalization())],
        [layers.BatchNormalization(), layers.SpectralNormalization(layers.Dense(2))],
        [layers.BatchNormalization(), layers.LSTM(2, stateful=True, return_sequences=True)],
    ):
        model = keras.Sequential([keras.Input(batch_shape=(2, 4, 4)), *others])
        assert normalizations_alone(model) == [], others


@pytest.mark.parametrize("model", [{}, {"model__architecture": "cnn", "model__filters": [2]}])
def test_batch_sizes_of_a_bucket_and_their_remainders_share_a_function_and_train_as_fit(
    make_dataset: MakeDataset, make_plan: MakePlan, recipe: MakeRecipe, model: dict[str, Any]
) -> None:
    from pathlib import Path

    dataset = make_dataset(shape=(6, 6, 1)) if model else make_dataset()
    name = COMPILED_ENGINES[keras.backend.backend()]
    compiled, reference = (make_engine(each, dataset, Path(), rules=FEW_RULES) for each in (name, "fit"))
    for sizes in ([8, 8, 6], [7, 7, 7, 1], [5, 5, 5, 5, 2]):
        trained = []
        for engine in (compiled, reference):
            given = recipe(optimizer="adam", model__batch_normalization=True, model__dropout=0.2, **model)
            state, output = engine.run_epoch(engine.start(given, Seeds(1, 2, 3)), make_plan(sizes=sizes, rates=0.01))
            trained.append([*engine.weights(state), np.array([output.loss])])
        for one, other in zip(*trained, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=2e-5)
    if not model or name == "jax":  # convolutions on TensorFlow and a CPU take batches as they are
        assert compiled.compilation.functions == 1
