"""Files of rows to predict are read as training read its own, whichever rows they hold; their labels are ignored."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nightune.models.data.dataset import Dataset
from nightune.models.data.loading import load_dataset
from nightune.models.data.rows_to_predict import existing_rows, read_rows
from nightune.models.data.settings import DataSettings
from nightune.models.errors import InputError
from nightune.models.serving.input_trees import arrays_of
from nightune.models.serving.predictor import Predictor

COUNT = 60
AMOUNTS = [1250.0, 950.5, 3000.25, 1.5]


def german(value: float) -> str:
    return f"{value:,.2f}".replace(",", " ").replace(".", ",").replace(" ", ".")


PEOPLE = pd.DataFrame(
    {
        "id": np.arange(COUNT) + 1000,
        "income": [german(AMOUNTS[row % 4]) if row % 3 else "1.250" for row in range(COUNT)],
        "plan": ["01", "02", "1.50", "A"] * 15,
        "zip": [f"0{row % 7}12" for row in range(COUNT)],
        "born": pd.date_range("1990-01-01", periods=COUNT, freq="97D").strftime("%d/%m/%Y"),
        "since": pd.date_range("2020-01-01", periods=COUNT, freq="9D").strftime("%Y%m%d"),
        "active": ["true", "false", ""] * 20,
        "left": ["yes", "no"] * 30,
    }
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("people")
    PEOPLE.to_csv(folder / "people.csv", index=False)
    settings = DataSettings("people.csv", target="left", drop=("id",), dates={"since": "YYYYMMDD"})
    return load_dataset(settings, folder)


def features(data: Dataset, file: Path) -> np.ndarray:
    assert data.preprocessing is not None
    rows = read_rows(file, data.description).rows
    assert isinstance(rows, pd.DataFrame)
    return data.preprocessing.transform(rows)


@pytest.mark.parametrize(
    "chosen",
    [PEOPLE.income == "1.250", PEOPLE.plan == "01", PEOPLE.plan == "1.50", PEOPLE.active == "", PEOPLE.index == 7],
    ids=["plain decimals", "codes", "numbers as labels", "gaps", "one row"],
)
def test_some_rows_are_read_as_among_all_rows(chosen: "pd.Series[bool]", data: Dataset, tmp_path: Path) -> None:
    PEOPLE.to_csv(tmp_path / "all.csv", index=False)
    PEOPLE[chosen].drop(columns="left").sample(frac=1, axis="columns", random_state=0).to_csv(
        tmp_path / "some.csv", index=False
    )
    expected = features(data, tmp_path / "all.csv")[np.asarray(chosen)]
    np.testing.assert_array_equal(features(data, tmp_path / "some.csv"), expected)


def test_target_and_columns_that_are_not_read_are_named(data: Dataset, tmp_path: Path) -> None:
    PEOPLE.to_csv(tmp_path / "rows.csv", index=False)
    remarks = read_rows(tmp_path / "rows.csv", data.description).remarks
    assert ["left" in remarks[0], "target" in remarks[0], "'id'" in remarks[1]] == [True] * 3
    PEOPLE.drop(columns=["left", "id"]).to_parquet(tmp_path / "rows.parquet")
    rows = read_rows(tmp_path / "rows.parquet", data.description)
    assert rows.remarks == ()


def test_missing_columns_are_named_with_those_that_may_be_meant(data: Dataset, tmp_path: Path) -> None:
    PEOPLE.rename(columns={"income": "Income"}).drop(columns="plan").to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(InputError, match=r"rows\.csv.*columns 'income', 'plan'; did you mean 'Income'"):
        read_rows(tmp_path / "rows.csv", data.description)


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("rows.csv", b"", "empty"),
        ("rows.csv", ",".join(PEOPLE.columns).encode(), "no rows"),
        ("rows.csv", b"a;b\n1;2\n", "income"),
        ("rows.parquet", b"PAR1", "Parquet"),
        ("rows.npz", b"PK", "table"),
    ],
)
def test_files_that_hold_no_rows_of_the_model_are_refused_by_name(
    name: str, content: bytes, word: str, data: Dataset, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=word) as caught:
        read_rows(tmp_path / name, data.description)
    assert caught.value.key == str(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "word"), [("rows.xlsx", "format"), ("gone.csv", "no such file"), ("a.py:f", "format")]
)
def test_files_of_other_formats_and_missing_ones_are_refused(name: str, word: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=word):
        existing_rows(tmp_path / name)


def test_arrays_are_read_by_their_name_and_without_labels(tmp_path: Path) -> None:
    description = {"input_shape": [3]}
    inputs = np.arange(6.0).reshape(2, 3)
    for names, remark in (({"x"}, ""), ({"inputs", "y"}, "'y'"), ({"rows"}, "")):
        held = {name: inputs if name != "y" else np.zeros(2) for name in sorted(names)}
        np.savez(tmp_path / "rows.npz", **held)
        read = read_rows(tmp_path / "rows.npz", description)
        np.testing.assert_array_equal(np.asarray(read.rows), inputs)
        assert remark in "".join(read.remarks)
    np.savez(tmp_path / "rows.npz", one=inputs, other=inputs)
    with pytest.raises(InputError, match=r"'x'.*one, other"):
        read_rows(tmp_path / "rows.npz", description)


def test_a_model_of_arrays_takes_columns_by_their_place(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("b,a,c\n1,2.5,3\n4,5,6\n")
    read = read_rows(tmp_path / "rows.csv", {"input_shape": [3]})
    assert np.asarray(read.rows).tolist() == [[1.0, 2.5, 3.0], [4.0, 5.0, 6.0]]
    assert "b, a, c" in read.remarks[0]
    for shape, word in (([2], "leave out labels"), ([4], "missing"), ([3, 1], r"\.npz")):
        with pytest.raises(InputError, match=word):
            read_rows(tmp_path / "rows.csv", {"input_shape": shape})


NAMED: dict[str, Any] = {"input_shape": {"a": [3], "n": []}}
ORDERED: dict[str, Any] = {"input_shape": [[3], []]}


def as_read(description: dict[str, Any], rows: Any) -> list[Any]:
    """The rows as a version converts them to its inputs."""
    shape = description["input_shape"]
    kinds = dict.fromkeys(shape, "float32") if isinstance(shape, dict) else ["float32"] * len(shape)
    predictor = Predictor(None, None, {**description, "input_type": kinds})
    return [array.tolist() for array in arrays_of(predictor.inputs(rows))]


def test_several_inputs_are_read_by_their_names_or_in_order(tmp_path: Path) -> None:
    a, n = np.arange(6.0).reshape(2, 3), np.array([4, 5])
    np.savez(tmp_path / "rows.npz", n=n, a=a, x=a, y=n)
    read = read_rows(tmp_path / "rows.npz", NAMED)
    assert as_read(NAMED, read.rows) == [a.tolist(), n.tolist()]
    assert "arrays 'x', 'y' ignored" in read.remarks
    np.savez(tmp_path / "rows.npz", a, n)
    assert as_read(ORDERED, read_rows(tmp_path / "rows.npz", ORDERED).rows) == [a.tolist(), n.tolist()]
    pd.DataFrame({"n": n, "id": n, "a": a.tolist()}).to_parquet(tmp_path / "rows.parquet")
    read = read_rows(tmp_path / "rows.parquet", NAMED)
    assert as_read(NAMED, read.rows) == [a.tolist(), n.tolist()]
    assert "'id'" in "".join(read.remarks)
    (tmp_path / "rows.csv").write_text("m,n\n1.5,4\n2.5,5\n")
    numbers = {"input_shape": {"n": [], "m": [1]}}
    assert as_read(numbers, read_rows(tmp_path / "rows.csv", numbers).rows) == [[4, 5], [[1.5], [2.5]]]


def test_several_inputs_that_are_missing_are_named_with_the_file_that_holds_them(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", a=np.ones((2, 3)))
    for description, word in ((NAMED, "lacks the array 'n'.*needed: 'a', 'n'"), (ORDERED, "lacks.*'arr_0', 'arr_1'")):
        with pytest.raises(InputError, match=word):
            read_rows(tmp_path / "rows.npz", description)
    np.savez(tmp_path / "rows.npz", a=np.ones((2, 3)), n=1)
    with pytest.raises(InputError, match="'n' is a single value"):
        read_rows(tmp_path / "rows.npz", NAMED)
    (tmp_path / "rows.csv").write_text("a,n\n1.5,4\n")
    for description, word in ((NAMED, r"'a', 'n' of a \.npz"), (ORDERED, r"'arr_0', 'arr_1' of a \.npz")):
        with pytest.raises(InputError, match=word):
            read_rows(tmp_path / "rows.csv", description)
