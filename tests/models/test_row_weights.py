"""Weights of rows are read, checked and kept with their rows, and no feature; data without any stays as it is."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nightune.models.data.dataset import Dataset, Purpose, UnsealedExamples
from nightune.models.data.loading import load_dataset
from nightune.models.data.settings import DataSettings
from nightune.models.data.splits import Split
from nightune.models.data.storage import open_dataset, save_dataset
from nightune.models.errors import InputError

ROWS = 60
X = np.arange(ROWS, dtype=float)[:, None] + [0.5, 0.25]  # the first value of a row names it
Y = np.random.default_rng(0).normal(size=ROWS)
W = np.random.default_rng(1).integers(1, 9, ROWS) / 4
TABLE = pd.DataFrame({"a": X[:, 0], "b": Y + 1, "w": W, "y": Y})

LOADER = """
import sys
sys.path.insert(0, {folder!r})
def data():
    import numpy as np, pandas as pd
    from test_row_weights import ROWS, TABLE, W, X, Y
    return {result}
"""


def load(folder: Path, result: str, **keys: Any) -> Dataset:
    """Load what a function returns that the text describes."""
    (folder / "load.py").write_text(LOADER.format(folder=str(Path(__file__).parent), result=result))
    return load_dataset(DataSettings("load.py:data", **keys), folder)


def test_split(dataset: Dataset) -> Any:
    return dataset.test.open(Purpose.GATE, record=lambda: None)


test_split.__test__ = False  # type: ignore[attr-defined]


def assert_weights_follow_their_rows(dataset: Dataset) -> None:
    for examples in (dataset.train, dataset.validation, dataset.ranking, test_split(dataset)):
        rows = (examples.inputs[:, 0] - 0.5).astype(int)
        assert examples.weights is not None
        assert examples.weights.dtype == np.float32
        np.testing.assert_array_equal(examples.weights, W[rows].astype(np.float32))


@pytest.mark.parametrize(
    "result",
    [
        "(X, Y, W)",
        "[X, Y, list(W)]",
        "(X, Y, W[:, None])",
        "(X, Y, pd.Series(W))",
        "{'x': X, 'y': Y, 'weight': W}",
        "{'x': X, 'y': Y, 'sample_weight': W}",
    ],
)
def test_weights_of_a_function_follow_their_rows(tmp_path: Path, result: str) -> None:
    dataset = load(tmp_path, result, split=Split(ranking=0.2))
    assert_weights_follow_their_rows(dataset)
    assert dataset.input_shape == (2,)
    kept = open_dataset(save_dataset(dataset, tmp_path / "data"))
    assert_weights_follow_their_rows(kept)
    assert kept.version == dataset.version
    assert kept.description["weights"]["metrics"] == "weights"


@pytest.mark.parametrize(
    "result",
    [
        "((X[:40], Y[:40], W[:40]), (X[40:50], Y[40:50], W[40:50]), (X[50:], Y[50:], W[50:]))",
        "((X[:40], Y[:40], W[:40]), (X[40:], Y[40:], W[40:]))",
        "{'x_train': X[:40], 'y_train': Y[:40], 'sample_weight_train': W[:40],"
        " 'x_test': X[40:], 'y_test': Y[40:], 'sample_weight_test': W[40:]}",
        "{'x': X, 'y': Y, 'weight': W, 'group': np.arange(ROWS) // 5}",
        "{'x': X, 'y': Y, 'weight': W, 'time': np.arange(ROWS)}",
        "{'x': X, 'y': Y, 'weight': W, 'part': ['train'] * 40 + ['val'] * 10 + ['test'] * 10}",
    ],
)
def test_weights_follow_their_rows_in_every_split(tmp_path: Path, result: str) -> None:
    assert_weights_follow_their_rows(load(tmp_path, result))


def test_weights_of_a_file_follow_their_rows(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X, y=Y, weights=W)
    assert_weights_follow_their_rows(load_dataset(DataSettings("a.npz"), tmp_path))


def test_a_column_of_weights_is_no_feature_and_not_needed_for_predictions(tmp_path: Path) -> None:
    TABLE.assign(w=[f"{weight:.2f}" for weight in W], y=Y.round(3)).to_csv(tmp_path / "t.csv", index=False)
    dataset = load_dataset(DataSettings("t.csv", target="y", weight="w", drop=("b",)), tmp_path)
    assert dataset.preprocessing is not None
    assert [column.name for column in dataset.preprocessing.columns] == ["a"]
    table = test_split(dataset).table
    assert list(table.columns) == ["a"]
    assert dataset.preprocessing.transform(table).shape == (12, 1)
    rows = table["a"].to_numpy(int)
    np.testing.assert_array_equal(test_split(dataset).weights, W[rows].astype(np.float32))
    assert {line.name: line.done for line in dataset.columns}["w"] == "weighs the rows"


def test_rows_without_a_target_need_no_weight(tmp_path: Path) -> None:
    table = TABLE.copy()
    table.loc[[3, 7], ["y", "w"]] = np.nan
    table.to_csv(tmp_path / "t.csv", index=False)
    dataset = load_dataset(DataSettings("t.csv", target="y", weight="w"), tmp_path)
    table_rows = test_split(dataset).table["a"].to_numpy(int)
    np.testing.assert_array_equal(test_split(dataset).weights, W[table_rows].astype(np.float32))
    assert sum(dataset.sizes.values()) == ROWS - 2


def test_weights_are_part_of_the_version_only_where_there_are_any(tmp_path: Path) -> None:
    plain, ones, given = (load(tmp_path, f"(X, Y{weights})") for weights in ("", ", np.ones(ROWS)", ", W"))
    assert plain.version == load(tmp_path, "(X, Y, None)").version
    assert len({plain.version, ones.version, given.version}) == 3
    assert "weights" not in plain.description
    assert plain.train.weights is None


def test_metrics_by_rows_keep_the_weights_of_training_alone(tmp_path: Path) -> None:
    dataset = load(tmp_path, "(X, Y, W)", metrics_by_rows=True)
    kept = open_dataset(save_dataset(dataset, tmp_path / "data"))
    for each in (dataset, kept):
        assert each.train.weights is not None
        assert each.validation.weights is None
        assert test_split(each).weights is None
        assert each.description["weights"]["metrics"] == "rows"
    assert dataset.version != load(tmp_path, "(X, Y, W)").version


def test_lost_weights_of_prepared_data_are_an_error(tmp_path: Path) -> None:
    folder = save_dataset(load(tmp_path, "(X, Y, W)"), tmp_path / "data")
    (folder / "train_weights.npy").unlink()
    with pytest.raises(InputError, match="delete that folder"):
        open_dataset(folder)


def test_weights_of_another_scale_are_reported(tmp_path: Path) -> None:
    (finding,) = [each for each in load(tmp_path, "(X, Y, W * 1000)").findings if "their mean" in each]
    assert "learning_rate.peak" in finding
    assert not [
        each for each in load(tmp_path, "(X, Y, W * 1000 / (W * 1000).mean())").findings if "their mean" in each
    ]


@pytest.mark.parametrize(("by_rows", "word"), [(False, "average"), (True, "not the metrics")])
def test_weights_that_no_key_names_are_said(tmp_path: Path, by_rows: bool, word: str) -> None:
    (finding,) = [each for each in load(tmp_path, "(X, Y, W)", metrics_by_rows=by_rows).findings if "weights" in each]
    assert word in finding


def test_rows_without_weight_are_no_evidence_with_all_that_belongs_to_them() -> None:
    table = pd.DataFrame({"a": [0, 1, 2, 3]})
    weights, groups = np.float32([0, 2, 0, 1]), np.array([5, 6, 7, 8])
    test = UnsealedExamples(np.zeros((4, 1)), np.arange(4), table, groups, weights=weights).weighing()
    np.testing.assert_array_equal(test.targets, [1, 3])
    np.testing.assert_array_equal(test.groups, [6, 8])
    assert test.table is not None
    assert test.table["a"].tolist() == [1, 3]


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ("(X, Y, W[:9])", ["(9,)", "60"]),
        ("(X, Y, X)", ["(60, 2)", "60"]),
        ("(X, Y, ['a'] * ROWS)", ["numbers"]),
        ("(X, Y, np.where(np.arange(ROWS) == 7, np.nan, W))", ["row 7", "nan"]),
        ("(X, Y, np.where(np.arange(ROWS) == 7, np.inf, W))", ["row 7", "inf"]),
        ("(X, Y, np.where(np.arange(ROWS) == 7, -0.5, W))", ["row 7", "-0.5"]),
        ("(X, Y, np.where(np.arange(ROWS) == 7, 1e39, W))", ["row 7", "1e+39"]),
        ("(X, Y, np.zeros(ROWS))", ["all weights are 0"]),
        ("(pd.DataFrame(X), Y, pd.Series(W)[::-1])", ["weights", "another order"]),
        ("{'x': X, 'y': Y, 'weight': W, 'sample_weight': W}", ["twice", "'sample_weight'"]),
        ("{'x': X, 'y': Y, 'wieght': W}", ["'wieght'", "'weight'"]),
        ("((X[:40], Y[:40], W[:40]), (X[40:], Y[40:]))", ["'test'", "np.ones"]),
        ("((X[:40], Y[:40], W[:40]), (X[40:], Y[40:], -W[40:]))", ["row 0", "(test)"]),
        ("{'x': X, 'y': Y, 'weight': np.r_[W[:40], np.zeros(20)], 'time': np.arange(ROWS)}", ["test", "weight 0"]),
        ("(X, Y, W, W)", ["tuple", "x_train"]),
    ],
)
def test_bad_weights_of_a_function_are_refused(tmp_path: Path, result: str, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        load(tmp_path, result)
    assert caught.value.key == "data.source"
    assert not [word for word in words if word not in caught.value.message], caught.value.message


@pytest.mark.parametrize(
    ("changes", "keys", "words"),
    [
        ({}, {"weight": "v"}, ["'v'", "known: a, b, w, y"]),
        ({}, {"weight": "y"}, ["'y'", "target"]),
        ({}, {"weight": "w", "drop": ("w",)}, ["drop"]),
        ({}, {"weight": "w", "split": Split("time", column="w")}, ["split"]),
        ({"w": [-1.0, *W[1:]]}, {"weight": "w"}, ["row 0", "-1"]),
        ({"w": [*W[:5], None, *W[6:]]}, {"weight": "w"}, ["missing in 1 rows", "row 5"]),
        ({"w": ["much", *W[1:]]}, {"weight": "w"}, ["'w'"]),
        ({"w": ["a", "b"] * 30}, {"weight": "w"}, ["'a'", "numbers"]),
        ({"w": ["2026-01-01"] * 60}, {"weight": "w"}, ["2026-01-01", "numbers"]),
        ({"w": -999.0}, {"weight": "w", "missing": ("-999",)}, ["missing in 60 rows"]),
    ],
)
def test_bad_columns_of_weights_are_refused(
    tmp_path: Path, changes: dict[str, Any], keys: dict[str, Any], words: list[str]
) -> None:
    TABLE.assign(**changes).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(InputError) as caught:
        load_dataset(DataSettings("t.csv", target="y", **keys), tmp_path)
    assert caught.value.key == "data.weight"
    assert not [word for word in words if word not in caught.value.message], caught.value.message


def test_a_bad_weight_is_named_with_its_file(tmp_path: Path) -> None:
    TABLE[:40].to_csv(tmp_path / "t.csv", index=False)
    TABLE[40:].assign(w=[*W[40:50], -2.0, *W[51:]]).to_csv(tmp_path / "test.csv", index=False)
    split = Split("fixed", test="test.csv")
    with pytest.raises(InputError, match=r"data\.weight: .*row 10 of test\.csv"):
        load_dataset(DataSettings("t.csv", target="y", weight="w", split=split), tmp_path)


def test_a_column_of_weights_is_for_tables_and_arrays_have_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.weight: .*\(x, y, weight\)"):
        load(tmp_path, "(X, Y)", weight="w")


def test_written_forms_of_numbers_are_read(tmp_path: Path) -> None:
    written = [f"{weight:.2f}".replace(".", ",") for weight in W]
    TABLE.assign(w=written).to_csv(tmp_path / "t.csv", index=False)
    settings = DataSettings("t.csv", target="y", weight="w", numeric={"w": "1.250,00"})
    dataset = load_dataset(settings, tmp_path)
    rows = test_split(dataset).table["a"].to_numpy(int)
    np.testing.assert_array_equal(test_split(dataset).weights, W[rows].astype(np.float32))


def test_a_feature_that_is_named_like_weights_is_reported(tmp_path: Path) -> None:
    named = TABLE.rename(columns={"w": "sample_weight"})
    named.to_csv(tmp_path / "t.csv", index=False)
    (finding,) = [
        each for each in load_dataset(DataSettings("t.csv", target="y"), tmp_path).findings if "sample_weight" in each
    ]
    assert 'weight = "sample_weight"' in finding
    remedied = load_dataset(DataSettings("t.csv", target="y", weight="sample_weight"), tmp_path)
    assert remedied.train.weights is not None
    assert not [each for each in remedied.findings if "sample_weight" in each]
