"""Splits that the data itself names: by a column, by files, and by the names of Keras' arrays."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nightune.models.data.dataset import Dataset, Purpose
from nightune.models.data.loading import load_dataset
from nightune.models.data.settings import DataSettings
from nightune.models.data.splits import Split
from nightune.models.errors import InputError

ROWS = 60
PART = np.array((["train"] * 6 + ["val"] * 3 + ["Test "]) * 6)
GENERATOR = np.random.default_rng(0)
TABLE = pd.DataFrame(
    {
        "row": np.arange(ROWS) + 0.5,
        "zip": [f"{n:03d}" for n in range(1, ROWS + 1)],
        "price": GENERATOR.normal(size=ROWS).round(2),
        "city": [f"c{n % 4}" for n in range(ROWS)],
        "y": np.where(np.arange(ROWS) % 3, "yes", "no"),
        "part": PART,
    }
)
X = TABLE[["row", "price"]].to_numpy()
Y = GENERATOR.normal(size=ROWS)
SIZES = {"train": 36, "validation": 18, "test": 6}


def load(folder: Path, source: str, split: Split | None = None, **keys: Any) -> Dataset:
    return load_dataset(DataSettings(source, split=split or Split(), **keys), folder)


def rows_of(dataset: Dataset) -> dict[str, list[int]]:
    """The numbers of the rows in each split, of data whose first value is half above the number."""
    test = dataset.test.open(Purpose.GATE, record=lambda: None)
    splits = {"train": dataset.train, "validation": dataset.validation, "test": test}
    return {name: np.floor(each.inputs[:, 0]).astype(int).tolist() for name, each in splits.items()}


def write_files(folder: Path, suffix: str) -> Split:
    for name, word in (("train", "train"), ("val", "val"), ("test", "Test ")):
        rows = TABLE[word == PART].drop(columns="part")
        columns = rows.columns[::-1] if name == "val" else rows.columns
        if suffix == ".csv":
            rows[columns].to_csv(folder / f"{name}.csv", index=False)
        else:
            rows[columns].to_parquet(folder / f"{name}.parquet")
    return Split("fixed", f"val{suffix}", f"test{suffix}")


def write_parts(folder: Path) -> None:
    arrays = {}
    for name, word in (("train", "train"), ("val", "val"), ("test", "Test ")):
        arrays |= {f"x_{name}": X[word == PART], f"y_{name}": Y[word == PART]}
    np.savez(folder / "keras.npz", **arrays)


def write_loader(folder: Path, result: str) -> str:
    (folder / "load.py").write_text(
        f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\nimport numpy as np\n"
        f"from test_fixed_splits import PART, TABLE, X, Y\ndef data():\n    return {result}\n"
    )
    return "load.py:data"


def test_a_column_names_the_parts(tmp_path: Path) -> None:
    TABLE.to_csv(tmp_path / "t.csv", index=False)
    dataset = load(tmp_path, "t.csv", Split("fixed", column="part"), target="y")
    assert dataset.sizes == SIZES
    assert "part" not in [column["name"] for column in dataset.description["columns"]]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_files_are_what_a_column_of_one_file_is(tmp_path: Path, suffix: str) -> None:
    split = write_files(tmp_path, suffix)
    files = load(tmp_path, f"train{suffix}", split, target="y")
    joined = pd.concat([TABLE[word == PART] for word in ("train", "val", "Test ")])
    joined.to_csv(tmp_path / "t.csv", index=False)
    column = load(tmp_path, "t.csv", Split("fixed", column="part"), target="y")
    assert files.version == column.version
    assert [line.name for line in files.columns if line.read_as == "label"] == [
        line.name for line in column.columns if line.read_as == "label" and line.name != "part"
    ]


def test_numbers_in_one_file_and_codes_in_another_are_read_alike(tmp_path: Path) -> None:
    split = write_files(tmp_path, ".csv")
    test = pd.read_csv(tmp_path / "test.csv", dtype=str)
    test.assign(zip="100").to_csv(tmp_path / "test.csv", index=False)  # as a number it would be another column
    dataset = load(tmp_path, "train.csv", split, target="y")
    assert next(c for c in dataset.description["columns"] if c["name"] == "zip")["kind"] == "category"


@pytest.mark.parametrize(
    "result",
    [
        "{'x': X, 'y': Y, 'part': PART}",
        "dict(zip(['x_train', 'y_train', 'x_val', 'y_val', 'x_test', 'y_test'], "
        "[a[PART == p] for p in ('train', 'val', 'Test ') for a in (X, Y)]))",
        "tuple((X[PART == p], Y[PART == p]) for p in ('train', 'val', 'Test '))",
        "TABLE.assign(y=Y)[['row', 'price', 'y', 'part']]",
    ],
)
def test_parts_of_a_function_are_kept(tmp_path: Path, result: str) -> None:
    is_table = result.startswith("TABLE")
    keys = {"target": "y", "split": Split("fixed", column="part")} if is_table else {}
    dataset = load(tmp_path, write_loader(tmp_path, result), **keys)
    assert dataset.sizes == SIZES
    if not is_table:
        assert sorted(rows_of(dataset)["test"]) == np.flatnonzero(PART == "Test ").tolist()


def test_the_names_of_keras_are_read_from_a_file(tmp_path: Path) -> None:
    write_parts(tmp_path)
    for split in (Split(), Split("fixed")):
        dataset = load(tmp_path, "keras.npz", split)
        assert rows_of(dataset)["validation"] == np.flatnonzero(PART == "val").tolist()


def test_arrays_of_several_files_are_joined(tmp_path: Path) -> None:
    for name, word in (("train", "train"), ("val", "val"), ("test", "Test ")):
        np.savez(tmp_path / f"{name}.npz", x=X[word == PART], y=Y[word == PART])
    dataset = load(tmp_path, "train.npz", Split("fixed", "val.npz", "test.npz"))
    assert dataset.sizes == SIZES
    assert rows_of(dataset)["test"] == np.flatnonzero(PART == "Test ").tolist()


def test_parts_that_no_row_names_are_drawn_from_the_training_rows(tmp_path: Path) -> None:
    known = np.flatnonzero(PART != "val")
    source = write_loader(tmp_path, "{'x': X[PART != 'val'], 'y': Y[PART != 'val'], 'part': PART[PART != 'val']}")
    dataset = load(tmp_path, source, Split("fixed", validation=0.25))
    rows = rows_of(dataset)
    assert rows["test"] == np.flatnonzero(PART == "Test ").tolist()
    assert len(rows["validation"]) == 9
    assert sorted(rows["train"] + rows["validation"] + rows["test"]) == known.tolist()
    assert any("'validation'" in finding and "9 of 36" in finding for finding in dataset.findings)


def test_classes_are_drawn_in_proportion_and_rows_may_rank(tmp_path: Path) -> None:
    source = write_loader(tmp_path, "{'x': X, 'y': TABLE['y'], 'part': ['train'] * 50 + ['ranking'] * 10}")
    dataset = load(tmp_path, source, Split("fixed", validation=0.3, test=0.3))
    assert dataset.sizes == {"train": 20, "validation": 15, "ranking": 10, "test": 15}
    assert np.bincount(dataset.validation.targets).tolist() == [5, 10]


@pytest.mark.parametrize(
    ("result", "split", "key", "words"),
    [
        ("{'x': X, 'y': Y, 'part': ['dev'] * 60}", Split(), "data.split.column", ["'dev'", "validation"]),
        ("{'x': X, 'y': Y, 'part': [None] + ['train'] * 59}", Split(), "data.split.column", ["1 rows"]),
        ("{'x': X, 'y': Y, 'part': ['val'] * 60}", Split(), "data.split", ["train"]),
        ("{'x': X, 'y': Y}", Split("fixed"), "data.split.column", ["'part'"]),
        (
            "{'x': X, 'y': Y, 'group': PART, 'part': ['train'] * 60}",
            Split(),
            "data.split.column",
            ["validation and test", "group"],
        ),
        ("{'x_train': X, 'y_train': Y, 'x_test': X}", Split(), "data.source", ["'x_test'", "'y_test'"]),
        (
            "{'x_train': X, 'y_train': Y, 'x_test': X[:, :1], 'y_test': Y}",
            Split(),
            "data.source",
            ["(60, 1)", "(60, 2)", "one form"],
        ),
        (
            "{'x_train': X, 'y_train': Y, 'x_test': X.astype(int), 'y_test': Y}",
            Split(),
            "data.source",
            ["int32", "float32"],
        ),
        ("{'x_train': X, 'y_train': Y, 'x_test': X, 'y_test': Y, 'x': X}", Split(), "data.source", ["'x'"]),
    ],
)
def test_unclear_part_is_refused(tmp_path: Path, result: str, split: Split, key: str, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        load(tmp_path, write_loader(tmp_path, result), split)
    assert caught.value.key == key
    assert not [word for word in words if word not in caught.value.message], caught.value.message


@pytest.mark.parametrize(
    ("change", "split", "key", "words"),
    [
        (lambda t: t.drop(columns="y"), None, "data.split.test", ["lacks", "'y'"]),
        (lambda t: t.assign(more=1), None, "data.split.test", ["'more'"]),
        (lambda t: t.iloc[:0], None, "data.split.test", ["no rows"]),
        (lambda t: t.assign(y=np.nan), None, "data.target", ["'test'", "target"]),
        (lambda t: t, Split("fixed", "val.csv", "tset.csv"), "data.split.test", ["'test.csv'"]),
        (lambda t: t, Split("fixed", "val.parquet", "test.csv"), "data.split.validation", ["one kind"]),
    ],
)
def test_files_that_do_not_fit_are_refused(
    tmp_path: Path, change: Any, split: Split | None, key: str, words: list[str]
) -> None:
    usual = write_files(tmp_path, ".csv")
    change(TABLE[PART == "Test "].drop(columns="part")).to_csv(tmp_path / "test.csv", index=False)
    with pytest.raises(InputError) as caught:
        load(tmp_path, "train.csv", split or usual, target="y")
    assert caught.value.key == key
    assert not [word for word in words if word not in caught.value.message], caught.value.message


def test_files_without_a_fixed_split_are_refused() -> None:
    with pytest.raises(InputError, match=r'data\.split\.test: .*"fixed"'):
        Split("random", test="test.csv")


def test_the_splits_of_this_table_do_not_change(tmp_path: Path) -> None:
    TABLE.drop(columns="part").to_csv(tmp_path / "t.csv", index=False)
    assert load(tmp_path, "t.csv", Split(seed=3), target="y").sizes == {"train": 36, "validation": 12, "test": 12}


def test_a_lone_carriage_return_in_a_field_breaks_no_row(tmp_path: Path) -> None:
    split = write_files(tmp_path, ".csv")
    table = pd.read_csv(tmp_path / "train.csv", dtype={"zip": str})
    table.loc[3, "city"] = "c\r1"
    table.to_csv(tmp_path / "train.csv", index=False, lineterminator="\r\n")
    assert load(tmp_path, "train.csv", split, target="y").sizes == SIZES


@pytest.mark.parametrize("name", ["train.csv", "./train.csv"])
def test_one_file_is_not_two_parts(tmp_path: Path, name: str) -> None:
    write_files(tmp_path, ".csv")
    with pytest.raises(InputError, match=r"data\.split\.test: .*train file"):
        load(tmp_path, "train.csv", Split("fixed", "val.csv", name), target="y")


def test_a_part_may_have_two_rows_in_every_format(tmp_path: Path) -> None:
    split = write_files(tmp_path, ".parquet")
    pd.read_parquet(tmp_path / "test.parquet").head(2).to_parquet(tmp_path / "test.parquet")
    assert load(tmp_path, "train.parquet", split, target="y").sizes["test"] == 2
