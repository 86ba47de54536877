"""Overlapping windows of a series are not split at random, and other rows are not taken for windows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nightune.models.data.dataset import Dataset
from nightune.models.data.inputs import Inputs
from nightune.models.data.loading import load_dataset
from nightune.models.data.settings import DataSettings
from nightune.models.data.sources import read_source
from nightune.models.data.splits import Split
from nightune.models.data.windows import find_overlap
from nightune.models.errors import InputError

GENERATOR = np.random.default_rng(0)
SERIES = GENERATOR.normal(size=700).cumsum().astype(np.float32)
THREE = GENERATOR.normal(size=(700, 3)).cumsum(axis=0).astype(np.float32)
WINDOWS = np.lib.stride_tricks.sliding_window_view(SERIES, 20)
OF_THREE = np.lib.stride_tricks.sliding_window_view(THREE, 5, axis=0)  # (rows, channels, steps)
PICTURE = GENERATOR.random((80, 80)).astype(np.float32)
PATCHES = np.lib.stride_tricks.sliding_window_view(PICTURE, (16, 16))[::4, ::4].reshape(-1, 16, 16, 1)
ITEMS = GENERATOR.normal(size=(400, 9)).astype(np.float32)  # of pairs and triplets
RAIN = np.where(GENERATOR.random(1500) < 0.9, 0, GENERATOR.random(1500)).astype(np.float32)


@pytest.mark.parametrize(
    "rows",
    [
        WINDOWS,
        WINDOWS[..., None],
        WINDOWS[GENERATOR.permutation(600)],
        WINDOWS[::5],
        WINDOWS[GENERATOR.permutation(681)[:340]],
        OF_THREE,
        OF_THREE.transpose(0, 2, 1),
        OF_THREE.reshape(len(OF_THREE), -1),
        OF_THREE.transpose(0, 2, 1).reshape(len(OF_THREE), -1),
        np.lib.stride_tricks.sliding_window_view(GENERATOR.integers(0, 30, 900).astype(np.int32), 30),
        np.lib.stride_tricks.sliding_window_view(RAIN, 24),
        np.repeat(WINDOWS, 2, axis=0),
        PATCHES,
    ],
)
def test_overlapping_windows_are_found(rows: np.ndarray) -> None:
    assert find_overlap(Inputs(rows, {})) is not None


@pytest.mark.parametrize(
    "make",
    [
        lambda g: WINDOWS[::20],
        lambda g: g.normal(size=(500, 30)).astype(np.float32),
        lambda g: g.integers(0, 10, (3000, 5)).astype(np.int32),
        lambda g: g.integers(0, 2, (1000, 40)).astype(np.float32),
        lambda g: np.eye(10, dtype=np.float32)[g.integers(0, 10, 500)],
        lambda g: g.choice(30, p=np.arange(30) / 435, size=(2000, 20)).astype(np.int32),
        lambda g: np.repeat(g.normal(size=(300, 1)), 12, axis=1).astype(np.float32),
        lambda g: (g.normal(size=(300, 1)) + np.arange(12)).astype(np.float32),
        lambda g: np.where(np.arange(60) < g.integers(5, 60, (900, 1)), g.choice(200, (900, 60)), 0).astype(np.int32),
        lambda g: np.sort(g.integers(0, 100, (2000, 6)), axis=1).astype(np.int32),
        lambda g: np.tile(g.normal(size=(300, 3)), 4).astype(np.float32),
        lambda g: np.zeros((100, 5), np.float32),
        lambda g: np.eye(30, dtype=np.float32),
        lambda g: np.stack([ITEMS[g.permutation(400)] for _ in range(2)], axis=1),
        lambda g: np.stack([ITEMS[g.permutation(400)] for _ in range(3)], axis=1),
        lambda g: np.hstack([ITEMS[g.permutation(400)] for _ in range(2)]),
        lambda g: np.hstack([ITEMS[g.permutation(400)] for _ in range(3)]),
        lambda g: np.tri(30, dtype=np.float32),
        lambda g: (g.random((300, 14, 14, 1)) > 0.7).astype(np.float32),
    ],
)
def test_other_rows_are_no_windows(make: Callable[[np.random.Generator], np.ndarray]) -> None:
    assert find_overlap(Inputs(make(np.random.default_rng(1)), {})) is None


@pytest.mark.parametrize("name", ["digits", "digits_images"])
def test_digits_are_no_windows(tmp_path: Path, name: str) -> None:
    assert find_overlap(Inputs(read_source(name, tmp_path).inputs, {})) is None


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "diabetes"])
def test_tables_are_no_windows(tmp_path: Path, name: str) -> None:
    load_dataset(DataSettings(name, target="target", split=Split("random")), tmp_path)


def load(folder: Path, split: Split, *, is_table: bool = False, **arrays: Any) -> Dataset:
    target = GENERATOR.normal(size=len(WINDOWS))
    if is_table:
        table = pd.DataFrame(WINDOWS, columns=[f"lag {n}" for n in range(20)])
        table.assign(y=target, day=np.arange(len(table)), half=np.arange(len(table)) // 100).to_csv(folder / "t.csv")
        return load_dataset(DataSettings("t.csv", target="y", drop=("Unnamed: 0",), split=split), folder)
    np.savez(folder / "a.npz", x=WINDOWS, y=target, **arrays)
    return load_dataset(DataSettings("a.npz", split=split), folder)


@pytest.mark.parametrize("is_table", [False, True])
@pytest.mark.parametrize("split", [Split(), Split("random")])
def test_a_random_split_of_windows_is_refused(tmp_path: Path, split: Split, is_table: bool) -> None:
    with pytest.raises(InputError) as caught:
        load(tmp_path, split, is_table=is_table)
    assert caught.value.key == "data.split.kind"
    words = ["windows", 'kind = "time"', "gap", "allow_overlap = true", '"group"']
    assert not [word for word in words if word not in caught.value.message]


@pytest.mark.parametrize(
    ("split", "is_table", "arrays"),
    [
        (Split("time", gap=20), False, {}),
        (Split("time", column="day", gap=20), True, {}),
        (Split("group", column="half"), True, {}),
        (Split("group"), False, {"group": np.arange(len(WINDOWS)) // 100}),
        (Split(), False, {"part": np.repeat(["train", "val", "test"], [400, 140, 141])}),
        (Split(allow_overlap=True), False, {}),
        (Split("random", allow_overlap=True), True, {}),
    ],
)
def test_each_remedy_is_taken(tmp_path: Path, split: Split, is_table: bool, arrays: dict[str, Any]) -> None:
    dataset = load(tmp_path, split, is_table=is_table, **arrays)
    said = [finding for finding in dataset.findings if "windows" in finding]
    assert len(said) == split.allow_overlap


def test_a_time_split_of_windows_without_a_gap_is_reported(tmp_path: Path) -> None:
    (said,) = [finding for finding in load(tmp_path, Split("time")).findings if "windows" in finding]
    assert "gap" in said


def test_drawn_parts_of_windows_are_refused_and_may_be_named(tmp_path: Path) -> None:
    part = np.repeat(["train", "test"], [540, 141])
    with pytest.raises(InputError, match=r"data\.split\.kind: .*validation"):
        load(tmp_path, Split(), part=part)
    assert load(tmp_path, Split(allow_overlap=True), part=part).sizes == {"train": 432, "validation": 108, "test": 141}
    part[380:540] = "val"
    assert load(tmp_path, Split(), part=part).sizes == {"train": 380, "validation": 160, "test": 141}
