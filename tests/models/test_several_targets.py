"""Several target columns of a table: classes, labels or quantities by name; the rows that lack one are left out."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nightune.models.data.dataset import Dataset, Purpose
from nightune.models.data.loading import load_dataset
from nightune.models.data.settings import DataSettings
from nightune.models.data.splits import Split
from nightune.models.data.storage import open_dataset, save_dataset
from nightune.models.errors import InputError

random = np.random.default_rng(7)
ROWS = 80
KINDS = random.integers(0, 3, ROWS)
TABLE = pd.DataFrame(
    {
        "a": random.normal(size=ROWS),
        "b": random.normal(size=ROWS),
        "sales": random.normal(10, 2, ROWS),
        "price": random.normal(300, 50, ROWS),
        "warm": random.random(ROWS) < 0.5,
        "wet": random.choice(["yes", "no"], ROWS),
        "late": random.integers(0, 2, ROWS),
        "red": (KINDS == 0).astype(int),
        "green": KINDS == 1,
        "blue": np.where(KINDS == 2, "1", "0"),
        "city": random.choice(["Paris", "Rom"], ROWS),
        "day": pd.date_range("2026-01-01", periods=ROWS).astype(str),
    }
)


def load(folder: Path, *targets: str, table: pd.DataFrame = TABLE, **keys: Any) -> Dataset:
    table.to_parquet(folder / "t.parquet")
    drop = tuple(set(TABLE.columns) - {*targets, "a", "b"} - set(keys.get("keep", ())))
    keys.pop("keep", None)
    return load_dataset(DataSettings("t.parquet", target=targets, drop=drop, **keys), folder)


def test_columns_of_numbers_are_quantities_with_names(tmp_path: Path) -> None:
    dataset = load(tmp_path, "sales", "price", scale_target=True)
    assert (dataset.task, dataset.output_size, dataset.input_shape) == ("regression", 2, (2,))
    assert dataset.description["outputs"] == dataset.description["target"] == ["sales", "price"]
    scale = dataset.description["target_scale"]
    test = dataset.test.open(Purpose.GATE, lambda: None)
    values = test.targets * scale["deviation"] + scale["mean"]
    rows = TABLE.set_index("a").loc[test.table["a"]]  # type: ignore[index]
    np.testing.assert_allclose(values, rows[["sales", "price"]], rtol=1e-5)
    assert [(line.name, line.read_as) for line in dataset.columns[:2]] == [("sales", "number"), ("price", "number")]


def test_booleans_yes_and_no_and_0_and_1_are_labels(tmp_path: Path) -> None:
    dataset = load(tmp_path, "warm", "wet", "late")
    assert (dataset.task, dataset.classes) == ("multilabel", ("warm", "wet", "late"))
    test = dataset.test.open(Purpose.GATE, lambda: None)
    rows = TABLE.set_index("a").loc[test.table["a"]]  # type: ignore[index]
    np.testing.assert_array_equal(test.targets[:, 1], rows["wet"] == "yes")
    assert any("'yes' is read as 1" in finding for finding in dataset.findings)
    assert dataset.class_counts == dict(
        zip(["warm", "wet", "late"], dataset.train.targets.sum(axis=0).tolist(), strict=True)
    )
    copy = open_dataset(save_dataset(dataset, tmp_path / "data"))
    assert (copy.classes, copy.output_size) == (dataset.classes, 3)
    np.testing.assert_array_equal(copy.train.targets, dataset.train.targets)


def test_columns_with_one_1_in_each_row_are_classes_named_by_them(tmp_path: Path) -> None:
    dataset = load(tmp_path, "red", "green", "blue")
    assert (dataset.task, dataset.classes) == ("multiclass", ("red", "green", "blue"))
    assert "outputs" not in dataset.description
    np.testing.assert_array_equal(np.bincount(dataset.train.targets), list((dataset.class_counts or {}).values()))
    assert load(tmp_path, "red", "green", "blue", task="multilabel").task == "multilabel"


def test_rows_that_lack_a_value_in_any_of_them_are_left_out(tmp_path: Path) -> None:
    table = TABLE.assign(sales=TABLE["sales"].where(TABLE.index > 4), late=TABLE["late"].where(TABLE.index < 70))
    dataset = load(tmp_path, "sales", "late", table=table)
    assert sum(dataset.sizes.values()) == ROWS - 5 - 10
    assert sum("have no value" in finding for finding in dataset.findings) == 2
    assert any("column 1 is of 0 and 1 only" in finding for finding in dataset.findings)
    with pytest.raises(InputError, match="no row has a value in all"):
        load(tmp_path, "sales", "late", table=table.assign(late=table["late"].where(table.index < 3)))


@pytest.mark.parametrize(
    ("targets", "keys", "key", "words"),
    [
        (("late", "city"), {}, "data.target", ["'city'", "texts", 'target = "city"']),
        (("late", "lat"), {}, "data.target", ["'lat'", "'late'"]),
        (("late", "day"), {}, "data.target", ["'day'", "dates"]),
        (("late", "warm"), {"split": Split("group", column="late")}, "data.split.column", ["'late' is a target"]),
        (("sales", "price"), {"task": "multilabel"}, "data.task", ['"regression"']),
    ],
)
def test_columns_that_do_not_go_together_are_refused(
    tmp_path: Path, targets: tuple[str, ...], keys: dict[str, Any], key: str, words: list[str]
) -> None:
    with pytest.raises(InputError) as caught:
        load(tmp_path, *targets, **keys)
    assert caught.value.key == key
    for word in words:
        assert word in caught.value.message


def test_the_column_that_does_not_fit_can_be_predicted_alone_or_left_out(tmp_path: Path) -> None:
    assert load(tmp_path, "city").classes == ("Paris", "Rom")
    assert load(tmp_path, "late", "warm").task == "multilabel"
