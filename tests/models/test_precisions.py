"""Layers compute in the type that is asked for; weights, curves and other trials stay as they are."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from models.recipe import Recipe
from models.training.capabilities import only_in_fit
from models.training.checkpoint import Checkpoints
from models.training.engine_fit import FitEngine
from models.training.loop import Outcome, train
from models.training.seeds import Seeds
from tests.models.conftest import MakeDataset

MIXED: dict[str, Any] = {
    "optimizer": "adamw",
    "precision": "mixed_bfloat16",
    "learning_rate.peak": 0.01,
    "batch_size.size": 4,
    "model.units": [4],
    "model.batch_normalization": True,
}


@pytest.fixture
def engine(make_dataset: MakeDataset) -> FitEngine:
    return FitEngine(make_dataset(examples=22), Path())


def trained(engine: FitEngine, params: dict[str, Any]) -> Outcome:
    dataset = engine._dataset
    recipe = Recipe.from_params(params)
    return train(engine, recipe, dataset, epochs=3, seed=1, monitor="val_loss", direction="minimize")


def test_layers_compute_in_bfloat16_and_weights_and_outputs_are_float32(engine: FitEngine) -> None:
    model = engine.start(Recipe.from_params(MIXED), Seeds(1, 2, 3)).model
    assert {layer.compute_dtype for layer in model.layers[:-1]} == {"bfloat16"}
    assert model.layers[-1].compute_dtype == "float32"
    assert {str(keras.backend.standardize_dtype(weight.dtype)) for weight in model.weights} == {"float32"}


def test_the_next_trial_is_none_the_wiser(engine: FitEngine) -> None:
    plain = {**MIXED, "precision": "float32"}
    alone = trained(engine, plain)
    trained(engine, MIXED)
    after = trained(engine, plain)
    assert keras.config.dtype_policy().name == "float32"
    assert after.curves["val_loss"] == alone.curves["val_loss"]
    for one, other in zip(alone.weights, after.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_curves_are_close_to_those_of_float32_and_not_the_same(engine: FitEngine) -> None:
    mixed, plain = (trained(engine, {**MIXED, "precision": each}) for each in ("mixed_bfloat16", "float32"))
    assert mixed.curves["val_loss"] == pytest.approx(plain.curves["val_loss"], rel=0.05)
    assert mixed.curves["val_loss"] != plain.curves["val_loss"]
    assert mixed.curves["learning_rate"] == plain.curves["learning_rate"]


def test_a_checkpoint_loads_alone_and_gives_the_logged_loss(engine: FitEngine, tmp_path: Path) -> None:
    outcome = trained(engine, MIXED)
    assert Checkpoints(engine, Path()).prepare(outcome, tmp_path / "model.keras")()
    model = keras.saving.load_model(tmp_path / "model.keras")
    assert model.layers[0].compute_dtype == "bfloat16"
    validation = engine._dataset.validation
    outputs = np.asarray(model.predict_on_batch(validation.inputs), np.float64)
    right = outputs[np.arange(len(outputs)), validation.targets]
    loss = np.mean(np.log(np.exp(outputs).sum(axis=1)) - right)
    assert loss == pytest.approx(outcome.objective, abs=1e-5)


def test_compiled_engines_refuse_it_with_the_reason() -> None:
    assert only_in_fit(Recipe.from_params(MIXED)) == ["precision mixed_bfloat16: only fit rounds as Keras does"]
    assert only_in_fit(Recipe.from_params({**MIXED, "precision": "float32"})) == []
