"""Data is placed where it fits: in memory, on disk, on the device, or with the engine that reads it from disk."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nightune.models.data import placement
from nightune.models.data import placement as gathering
from nightune.models.data.dataset import Dataset
from nightune.models.data.input_arrays import refuse_non_finite
from nightune.models.data.loading import load_dataset
from nightune.models.data.placement import place
from nightune.models.data.settings import DataSettings
from nightune.models.data.storage import data_placement, open_dataset, save_dataset
from nightune.models.engines.choice import choose_engine
from nightune.models.errors import InputError
from nightune.models.recipe.recipe import Recipe
from nightune.settings import SettingsError


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras, device_memory, Room, device_peak, device_room, host_peak, peaks, refusal_of_data
    import keras

    from nightune.models.engines import memory as device_memory
    from nightune.models.engines.memory import Room, device_peak, device_room, host_peak, peaks, refusal_of_data


MakeDataset = Callable[..., Dataset]


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    dataset = load_dataset(DataSettings("iris"), tmp_path)
    return save_dataset(dataset, tmp_path)


def test_data_is_held_in_memory_up_to_a_quarter_of_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "available_bytes", lambda: 4000)
    assert not place(1000).is_on_disk
    assert place(1001).is_on_disk
    assert "more than a quarter" in place(1001).reason


@pytest.mark.parametrize(("place_name", "is_on_disk"), [("disk", True), ("memory", False)])
def test_a_place_set_in_the_environment_is_used(
    monkeypatch: pytest.MonkeyPatch, place_name: str, is_on_disk: bool
) -> None:
    monkeypatch.setattr(placement, "available_bytes", lambda: 4000)
    monkeypatch.setenv("NIGHTUNE_DATA", place_name)
    assert place(0).is_on_disk is place(10**9).is_on_disk is is_on_disk


def test_an_unknown_place_is_refused_with_the_nearest_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTUNE_DATA", "disc")
    with pytest.raises(SettingsError, match="disk"):
        place(1)


def test_all_inputs_are_mapped_or_none_and_are_the_same(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = open_dataset(prepared)
    monkeypatch.setenv("NIGHTUNE_DATA", "disk")
    mapped = open_dataset(prepared)
    assert data_placement(prepared).is_on_disk
    assert (held.is_on_disk, mapped.is_on_disk) == (False, True)
    assert isinstance(mapped.validation.inputs, np.memmap)
    np.testing.assert_array_equal(held.train.inputs, mapped.train.inputs)
    np.testing.assert_array_equal(held.validation.inputs, mapped.validation.inputs)


def test_arrays_on_disk_are_prepared_in_blocks_to_the_same_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    np.save(tmp_path / "x.npy", inputs)
    code = "import numpy as np\ndef load():\n    return np.load({!r}, mmap_mode='r'), np.arange(60) % 3\n"
    (tmp_path / "source.py").write_text(code.format(str(tmp_path / "x.npy")), encoding="utf-8")
    held = load_dataset(DataSettings("source.py:load"), tmp_path)
    monkeypatch.setenv("NIGHTUNE_DATA", "disk")
    monkeypatch.setattr(gathering, "BLOCK_BYTES", 100)
    mapped = load_dataset(DataSettings("source.py:load"), tmp_path)
    assert (held.is_on_disk, mapped.is_on_disk) == (False, True)
    assert held.version == mapped.version
    opened = open_dataset(save_dataset(mapped, tmp_path / "store"))
    np.testing.assert_array_equal(opened.train.inputs, held.train.inputs)


def test_values_that_are_not_finite_are_counted_over_all_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "BLOCK_BYTES", 8)
    inputs = np.zeros((9, 2), np.float32)
    inputs[4, 1] = inputs[7] = np.inf
    with pytest.raises(InputError, match=r"3 input values .* first in row 4"):
        refuse_non_finite(inputs, "here")


def test_a_device_holds_data_up_to_half_of_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_memory, "_accelerator_limit", lambda: 2**31)
    assert device_room() == Room(2**31, "memory of the device")
    assert refusal_of_data(2**30) is None
    refusal = refusal_of_data(2**30 + 2**24)
    assert refusal == "the data, 1.02 GiB, is more than half of the 2.00 GiB of memory of the device"


def test_on_a_cpu_free_memory_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_memory, "available_bytes", lambda: 2**20)
    assert device_room() == Room(2**20, "free memory")
    assert refusal_of_data(2**19) is None
    assert "free memory" in str(refusal_of_data(2**19 + 1))


@pytest.mark.parametrize("is_mapped", [True, False])
def test_data_that_a_device_cannot_hold_goes_to_fit_with_the_reason(
    make_dataset: MakeDataset, recipe: Callable[..., Recipe], prepared: Path, monkeypatch: Any, is_mapped: bool
) -> None:
    dataset = make_dataset()
    if is_mapped:
        monkeypatch.setenv("NIGHTUNE_DATA", "disk")
        dataset = open_dataset(prepared)
    else:
        monkeypatch.setattr(device_memory, "available_bytes", lambda: 100)
    choice = choose_engine("auto", [recipe()], dataset, Path())
    assert choice.name == "fit"
    assert ("stays on disk" if is_mapped else "more than half") in choice.reason
    with pytest.raises(InputError, match="the data"):
        choose_engine("compiled", [recipe()], dataset, Path())


def test_peaks_are_of_this_process_and_of_a_device_that_reports_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(peaks()) == ["peak_memory_mib"]
    assert 2**24 < host_peak() < 2**42
    monkeypatch.setattr(device_memory, "device_peak", lambda: 3 * 2**20)
    assert peaks()["device_peak_memory_mib"] == 3.0


def test_free_memory_is_read_by_the_interface_of_each_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    experimental = SimpleNamespace(get_memory_info=lambda name: {"GPU:0": {"current": 1, "peak": 7}}[name])
    tensorflow = SimpleNamespace(config=SimpleNamespace(experimental=experimental))
    monkeypatch.setattr(device_memory, "_tensorflow_with_gpu", lambda: tensorflow)
    assert device_peak() == 7
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(device_memory, "jax_memory_statistics", lambda: {"peak_bytes_in_use": 9, "bytes_limit": 11})
    assert device_peak() == 9
    assert device_room() == Room(11, "memory of the device")
    monkeypatch.setattr(device_memory, "jax_memory_statistics", dict)
    assert device_peak() is None
