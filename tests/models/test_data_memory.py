"""Data too large for memory stays on disk: trained to the same weights, and refused by the compiled engines."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from models.backend import _grow_memory
from models.data_memory import HELD_SHARE, SETTING, held_bytes
from models.datasets import load_dataset, open_dataset, save_dataset
from models.errors import InputError
from models.examples import Dataset
from models.recipe import Recipe
from models.training.engine import COMPILED_ENGINES, choose_engine, make_engine
from models.training.loop import Outcome, train
from tests.models.conftest import MakeDataset

PARAMS: dict[str, Any] = {"optimizer": "adam", "learning_rate.peak": 0.05, "model.units": [4], "model.dropout": 0.2}


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    return save_dataset(load_dataset("iris", folder=tmp_path), tmp_path)


@pytest.fixture
def on_disk(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    with monkeypatch.context() as patch:
        patch.setenv(SETTING, "0")
        dataset = open_dataset(prepared)
    assert isinstance(dataset.train.inputs, np.memmap)
    assert isinstance(dataset.validation.inputs, np.memmap)
    return dataset


def trained(dataset: Dataset, params: dict[str, Any]) -> Outcome:
    recipe = Recipe.from_params(params)
    engine = make_engine("fit", dataset, Path())
    return train(engine, recipe, dataset, epochs=3, seed=1, monitor="val_loss", direction="minimize")


@pytest.mark.parametrize(
    "batches",
    [
        {"batch_size.size": 8},
        {"batch_size.policy": "random", "batch_size.minimum": 3, "batch_size.maximum": 16},
        {"batch_size.size": 16, "batch_size.micro_size": 5},
    ],
    ids=["fixed", "random", "micro"],
)
def test_data_on_disk_trains_to_the_same_bits(prepared: Path, on_disk: Dataset, batches: dict[str, Any]) -> None:
    held = open_dataset(prepared)
    assert not isinstance(held.train.inputs, np.memmap)
    one, other = (trained(dataset, {**PARAMS, **batches}) for dataset in (held, on_disk))
    assert one.curves["val_loss"] == other.curves["val_loss"]
    assert one.curves["loss"] == other.curves["loss"]
    for ours, theirs in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_auto_takes_fit_for_data_on_disk_and_says_so(on_disk: Dataset) -> None:
    choice = choose_engine("auto", [Recipe.from_params(PARAMS)] * 2, on_disk, Path())
    assert choice.name == "fit"
    assert "stays on disk" in choice.reason


def test_data_larger_than_the_device_may_hold_is_refused_with_both_sizes(
    make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine: Any = make_engine(COMPILED_ENGINES[keras.backend.backend()], make_dataset(), Path())
    assert engine.refusals(Recipe.from_params(PARAMS)) == []
    monkeypatch.setenv(SETTING, "1e-9")
    (reason,) = engine.refusals(Recipe.from_params(PARAMS))
    assert "more than the device may hold, 0.0" in reason


def test_a_quarter_of_the_free_memory_is_for_data(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    monkeypatch.setattr(psutil, "virtual_memory", type("Memory", (), {"available": 1000}))
    assert held_bytes() == HELD_SHARE * 1000
    monkeypatch.setenv(SETTING, "0.5")
    assert held_bytes() == 2**29
    for wrong in ("much", "-1", "nan"):
        monkeypatch.setenv(SETTING, wrong)
        with pytest.raises(InputError, match=wrong):
            held_bytes()


def test_a_gpu_gives_its_memory_as_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    told: list[tuple[str, bool]] = []

    def grow(gpu: str, is_growing: bool) -> None:
        if gpu == "used":
            raise RuntimeError("Physical devices cannot be modified after being initialized")
        told.append((gpu, is_growing))

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["used", "new"])
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", grow)
    _grow_memory()
    assert told == [("new", True)]
