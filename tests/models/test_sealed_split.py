"""The sealed test split: it is read only through its seal, and every read is recorded first."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nightune.models.data.dataset import Dataset, Purpose, SealError, UnsealedExamples
from nightune.models.data.loading import load_dataset
from nightune.models.data.settings import DataSettings
from nightune.models.data.splits import Split
from nightune.models.data.storage import open_dataset, read_split, save_dataset

random = np.random.default_rng(0)
TABLE = pd.DataFrame(
    {
        "size": random.normal(50, 10, 120),
        "day": pd.date_range("2026-01-01", periods=120).strftime("%Y-%m-%d"),
        "label": np.where(random.random(120) < 0.5, "yes", "no"),
        "price": random.normal(300, 50, 120),
    }
)


def load_table(folder: Path, table: pd.DataFrame = TABLE, **keys: object) -> Dataset:
    table.to_csv(folder / "t.csv", index=False)
    return load_dataset(DataSettings("t.csv", **keys), folder)


def unsealed(dataset: Dataset) -> UnsealedExamples:
    return dataset.test.open(Purpose.GATE, lambda: None)


def test_the_test_split_is_read_only_through_its_seal(tmp_path: Path) -> None:
    folder = save_dataset(load_table(tmp_path, target="label", drop=("day",)), tmp_path / "data")
    dataset = open_dataset(folder)
    assert len(dataset.test) == dataset.sizes["test"] == 24
    for name in ("inputs", "targets", "table"):
        with pytest.raises(SealError, match="sealed"):
            getattr(dataset.test, name)
    with pytest.raises(SealError, match="sealed"):
        read_split(folder, "test")
    with pytest.raises(SealError, match=r"'a look' \(known: gate, preparation, range\)"):
        dataset.test.open("a look", lambda: None)
    assert dataset.test.reads == 0


def test_a_read_of_the_test_split_is_recorded_before_it_happens(tmp_path: Path) -> None:
    dataset = open_dataset(save_dataset(load_table(tmp_path, target="label", drop=("day",)), tmp_path / "data"))

    def refuse() -> None:
        raise OSError("the store is full")

    with pytest.raises(OSError, match="full"):
        dataset.test.open(Purpose.GATE, refuse)
    assert dataset.test.reads == 0
    noted: list[str] = []
    dataset.test.open(Purpose.GATE, lambda: noted.append("read"))
    assert (noted, dataset.test.reads) == (["read"], 1)


def test_no_file_outside_the_sealed_folder_holds_a_test_row(tmp_path: Path) -> None:
    table = TABLE.assign(code=[f"row-{row:04d}" for row in range(len(TABLE))])
    dataset = load_table(tmp_path, table, target="price", drop=("day", "label"), categorical=("code",))
    folder = save_dataset(dataset, tmp_path / "data")
    rows = [code.encode() for code in unsealed(dataset).table["code"]]
    outside = [file for file in folder.rglob("*") if file.is_file() and file.parent.name != "sealed"]
    assert outside
    assert not [(file, row) for file in outside for row in rows if row in file.read_bytes()]


def test_rows_may_be_reserved_for_the_ranking(tmp_path: Path) -> None:
    keys = {"target": "label", "drop": ("day",)}
    plain = load_table(tmp_path, **keys)
    assert plain.ranking is plain.validation
    apart = load_table(tmp_path, **keys, split=Split(ranking=0.1))
    assert apart.sizes == {"train": 60, "validation": 24, "ranking": 12, "test": 24}
    np.testing.assert_array_equal(unsealed(apart).targets, unsealed(plain).targets)
    np.testing.assert_array_equal(apart.validation.targets, plain.validation.targets)
    copy = open_dataset(save_dataset(apart, tmp_path / "data"))
    np.testing.assert_array_equal(copy.ranking.inputs, apart.ranking.inputs)
    assert apart.version != plain.version
