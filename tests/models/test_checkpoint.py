"""Checkpoints filled into a template of Keras are the files that Keras would write."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from nightune.models.data.dataset import Dataset
from nightune.models.recipe.params import read_recipe
from nightune.models.recipe.recipe import Recipe
from nightune.models.training.loop import Outcome
from nightune.models.training.seeds import Seeds


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras, FitEngine, Checkpoints, save_checkpoint
    import keras

    from nightune.models.engines.fit.engine import FitEngine
    from nightune.models.training.checkpoint import Checkpoints, save_checkpoint


MakeDataset = Callable[..., Dataset]

MODELS: dict[str, dict[str, Any]] = {
    "mlp": {"model.units": [4, 3], "model.dropout": 0.2},
    "normalized": {"model.units": [4], "model.batch_normalization": True},
    "cnn": {"model.architecture": "cnn", "model.filters": [2], "model.units": [3], "model.dropout": 0.2},
}


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    return make_dataset(shape=(6, 6, 1))


def recipe(**params: Any) -> Recipe:
    return read_recipe({"stopping.rule": "none", **params})


def outcome(engine: FitEngine, recipe: Recipe, seed: int, best_epoch: int = 1) -> Outcome:
    """An outcome like that of a training: weights of the model's shapes, all different."""
    generator = np.random.default_rng(seed)
    shapes = [weight.shape for weight in engine.weights(engine.start(recipe, Seeds(1, 2, 3)))]
    weights = [generator.normal(size=shape).astype(np.float32) for shape in shapes]
    return Outcome(recipe, "completed", "", 0.5, best_epoch, 1, 1, 1, 0.1, {}, weights, {})


def content(path: Path) -> dict[str, Any]:
    """Return the content of the file without what changes at each write of Keras: the date, and numbers of objects."""
    with zipfile.ZipFile(path) as archive:
        stored: dict[str, Any] = {}

        def visit(name: str, item: Any) -> None:
            stored[name] = (dict(item.attrs), item[()].tolist() if isinstance(item, h5py.Dataset) else None)

        with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
            file.visititems(visit)
        metadata = {**json.loads(archive.read("metadata.json")), "date_saved": ""}
        config = json.loads(
            archive.read("config.json"),
            object_hook=lambda found: {name: found[name] for name in found if name != "shared_object_id"},
        )
        return {"names": archive.namelist(), "metadata": metadata, "config": config, "stored": stored}


@pytest.mark.parametrize("name", MODELS)
def test_a_filled_in_checkpoint_equals_that_of_keras(name: str, dataset: Dataset, tmp_path: Path) -> None:
    engine = FitEngine(dataset, tmp_path)
    checkpoints = Checkpoints(engine, tmp_path, dataset)
    first = recipe(**MODELS[name])
    assert checkpoints.prepare(outcome(engine, first, 1), tmp_path / "first.keras")()
    second = recipe(**{**MODELS[name], **({"model.dropout": 0.35} if "model.dropout" in MODELS[name] else {})})
    given = outcome(engine, second, 2)
    assert checkpoints.prepare(given, tmp_path / "filled.keras")()
    assert save_checkpoint(engine, given, tmp_path / "written.keras")
    assert content(tmp_path / "filled.keras") == content(tmp_path / "written.keras")
    loaded = keras.saving.load_model(tmp_path / "filled.keras")
    for weight, expected in zip(loaded.get_weights(), given.weights, strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_keras_writes_once_for_each_shape_and_other_threads_need_none(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FitEngine(dataset, tmp_path)
    checkpoints = Checkpoints(engine, tmp_path, dataset)
    tried = recipe(**MODELS["mlp"])
    checkpoints.prepare(outcome(engine, tried, 1), tmp_path / "first.keras")
    later = outcome(engine, tried, 2)
    monkeypatch.setattr(FitEngine, "model", lambda *given: pytest.fail("Keras is asked again"))
    write = checkpoints.prepare(later, tmp_path / "later.keras")
    assert not (tmp_path / "later.keras").exists()
    thread = threading.Thread(target=write)
    thread.start()
    thread.join()
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "later.keras").get_weights()[0], later.weights[0])


def test_without_a_finite_epoch_there_is_no_checkpoint(dataset: Dataset, tmp_path: Path) -> None:
    engine = FitEngine(dataset, tmp_path)
    diverged = outcome(engine, recipe(**MODELS["mlp"]), 1, best_epoch=0)
    assert not Checkpoints(engine, tmp_path, dataset).prepare(diverged, tmp_path / "model.keras")()
    assert not (tmp_path / "model.keras").exists()
