"""Columns are summarized as they were read, without the test split."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nightune.models.data.dataset import Dataset
from nightune.models.data.distributions import labels, numbers
from nightune.models.data.loading import load_dataset
from nightune.models.data.settings import DataSettings
from nightune.models.data.storage import PROFILE, save_dataset
from nightune.tasks.tracking.sweeps.profiles import parse_profile

ROWS = 200


def loaded(folder: Path, **settings: object) -> Dataset:
    random = np.random.default_rng(0)
    table = {
        "size": random.normal(size=ROWS),
        "colour": np.where(np.arange(ROWS) % 4, "red", "blue"),
        "day": pd.date_range("2026-01-01", periods=ROWS).strftime("%Y-%m-%d"),
        "note": [f"some words {row % 7}" for row in range(ROWS)],
        "gap": np.where(np.arange(ROWS) % 10 == 0, np.nan, np.arange(ROWS) % 5),
        "price": random.normal(100, 5, ROWS),
    }
    pd.DataFrame(table).to_csv(folder / "t.csv", index=False)
    return load_dataset(DataSettings(source="t.csv", **({"target": "price"} | settings)), folder)  # type: ignore[arg-type]


def test_columns_of_a_table_are_numbers_labels_and_lengths_outside_the_test_split(tmp_path: Path) -> None:
    data = loaded(tmp_path, scale_target=True)
    found = {each["name"]: each for each in data.distributions}
    outside = ROWS - data.sizes["test"]
    assert all(each["rows"] == outside for each in found.values())
    assert found["price"]["role"] == "target"
    assert np.median(found["price"]["values"]) == pytest.approx(100, abs=2)  # not standardized
    assert set(found["colour"]["counts"]) == {"red", "blue"}
    assert sum(found["colour"]["counts"].values()) == outside
    assert found["gap"]["missing"] > 0
    assert len(found["gap"]["values"]) == outside - found["gap"]["missing"]
    assert {"day", "size"} <= set(found)


def test_the_saved_profile_is_what_a_sweep_reads(tmp_path: Path) -> None:
    data = loaded(tmp_path, target="colour")
    folder = save_dataset(data, tmp_path / "data")
    profile = parse_profile((folder / PROFILE).read_text())
    assert profile.classes is not None
    assert sum(profile.classes.values()) == profile.sizes["train"] == data.sizes["train"]
    assert profile.distributions[0].name == "colour"
    assert {line["name"] for line in profile.columns} >= {"colour", "size"}
    (folder / PROFILE).unlink()  # data that an earlier version prepared
    assert save_dataset(data, tmp_path / "data") == folder
    assert parse_profile((folder / PROFILE).read_text()) == profile


def test_arrays_of_few_features_have_each_and_of_many_the_mean_of_a_row(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name, width in (("few", 3), ("many", 50)):
        arrays = {"x": random.normal(size=(90, width)).astype(np.float32), "y": np.arange(90) % 3}
        np.savez(tmp_path / f"{name}.npz", **arrays)
    few, many = (load_dataset(DataSettings(source=f"{name}.npz"), tmp_path) for name in ("few", "many"))
    assert [each["name"] for each in few.distributions] == ["target", "input 0", "input 1", "input 2"]
    assert [each["name"] for each in many.distributions][1:] == ["input (mean of a row)", "input (deviation of a row)"]
    assert few.distributions[0]["counts"].keys() == {"0", "1", "2"}


def test_order_statistics_are_exact_for_few_rows_and_labels_beyond_the_most_frequent_are_counted() -> None:
    assert numbers("a", np.array([3.0, 1.0, np.inf]), 2, "input") == {
        "name": "a",
        "role": "input",
        "rows": 5,
        "missing": 3,
        "values": [1.0, 3.0],
    }
    many = numbers("a", np.arange(1024.0), 0, "input")["values"]
    assert (len(many), many[0], many[-1]) == (256, 3.0, 1023.0)
    found = labels("a", [str(each) for each in range(300)], 0, "input")
    assert (len(found["counts"]), found["other"], found["rows"]) == (256, 44, 300)
    json.dumps(found)


def test_of_large_examples_few_rows_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nightune.models.data.distributions.READ_VALUES", 5000)
    random = np.random.default_rng(0)
    arrays = {"x": random.normal(size=(300, 50)).astype(np.float32), "y": np.arange(300) % 3}
    np.savez(tmp_path / "many.npz", **arrays)
    found = load_dataset(DataSettings(source="many.npz"), tmp_path).distributions
    assert [each["rows"] for each in found] == [240, 100, 100]


def test_positions_without_a_class_are_missing_and_few_rows_of_shaped_targets_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nightune.models.data.distributions.READ_VALUES", 8000)
    random = np.random.default_rng(0)
    classes = random.integers(0, 3, (300, 100))
    classes[:, ::4] = 255
    images = random.normal(size=(300, 100)).astype(np.float32)
    np.savez(tmp_path / "classes.npz", x=images, y=classes)
    np.savez(tmp_path / "images.npz", x=images, y=images.reshape(300, 10, 10))
    stated = DataSettings(source="classes.npz", task="classification", ignore_class=255)
    found = load_dataset(stated, tmp_path).distributions[0]
    assert (found["rows"], found["missing"]) == (80 * 100, 80 * 25)
    assert found["counts"].keys() == {"0", "1", "2"}
    assert sum(found["counts"].values()) == 80 * 75
    assert load_dataset(DataSettings(source="images.npz"), tmp_path).distributions[0]["rows"] == 80


def test_of_many_columns_only_the_first_ones_are_summarized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nightune.models.data.distributions.MOST_COLUMNS", 3)
    assert [each["name"] for each in loaded(tmp_path).distributions] == ["price", "size", "colour"]
