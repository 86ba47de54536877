"""Data files and requests that cannot be used: each is refused with the key and the remedy."""

import numpy as np
import pandas as pd
import pytest

from nightune.models.data.loading import load_dataset
from nightune.models.data.splits import Split
from nightune.models.errors import InputError

X = np.random.default_rng(5).normal(size=(60, 4))
Y = np.arange(60) % 3
CSV = "a,b,y\n" + "".join(f"{index % 7},{index * 0.37},{'xy'[index % 2]}\n" for index in range(40))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "data.source: t.csv is empty"),
        (b"a,b,y\n", "data.source: t.csv holds a header and no rows; at least 3 are needed"),
        (b"a,b,y\n1,2,3\n", "data.source: t.csv holds 1 row; at least 3 are needed"),
        (
            CSV.replace(",", ";").encode(),
            "t.csv holds one column named 'a;b;y'; it is separated by ';': save it with commas",
        ),
        (b"a;y\n1,5;2,5\n1;2\n1,5;2,5\n", "holds one column named 'a;y'; it is separated by ';'"),
        (CSV.replace(",", "\t").encode(), "it is separated by '\\t': save it with commas"),
        (CSV.replace("x", "é").encode("latin-1"), "t.csv is not UTF-8 text"),
        (CSV.encode() + b"1,2,3,4\n", "not a well-formed CSV file: Expected 3 fields in line 42, saw 4"),
        (CSV.replace("a,b,y", "a,a,y").encode(), "t.csv holds several columns named 'a'; rename them"),
        (CSV.replace("a,b,y", "a,y").encode(), "t.csv holds rows with more fields than its header"),
        (CSV.replace("a,b,y", "a,b,Y").encode(), "data.target: unknown column 'y'; did you mean 'Y'? (known: a, b, Y)"),
        (b"a,y\n1,\n2,\n3,\n", "data.target: column 'y' is empty"),
        (b"a,y\n1,x\n2,x\n3,x\n", "data.target: every row has the class 'x'; there is nothing to learn"),
        (b"a,y\n1,p\n2,q\n3,r\n4,s\n", "data.target: 4 different classes in 4 rows"),
        (
            b"a,y\n1,p\n2,p\n3,p\n4,q\n",
            "data.split.kind: a stratified split needs 2 rows of each class; only one row has 'q'",
        ),
        (b"a,y\n1,1.5\n2,1.5\n3,1.5\n", "data.target: the target is 1.5 in every row; there is nothing to learn"),
        (b"a,y\n5,1.5\n5,2.5\n5,3.5\n5,7\n", "data.source: no column is left to learn from: all are empty or hold"),
    ],
)
def test_broken_csv_is_refused_with_the_remedy(tmp_path, content, words):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_dataset(folder=tmp_path, source="t.csv", target="y")
    assert words in str(caught.value)


def test_parquet_file_cut_short_is_refused(tmp_path):
    pd.DataFrame(X, columns=list("abcd")).to_parquet(tmp_path / "t.parquet")
    content = (tmp_path / "t.parquet").read_bytes()
    (tmp_path / "t.parquet").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"data.source: t.parquet is not a readable Parquet file \(cut short\?\)"):
        load_dataset(folder=tmp_path, source="t.parquet", target="a")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("digit", "data.source: unknown 'digit'; did you mean 'digits'? (known: breast_cancer, diabetes, digits"),
        ("tabel.csv", "unknown file 'tabel.csv'; did you mean 'table.csv'?"),
        ("no/such/t.csv", "data.source: no file 'no/such/t.csv': there is no folder"),
        ("data.tsv", "or a path: .csv, .parquet, .npz, path/to/file.py:function"),
        ("folder.csv", "'folder.csv' is a folder; name a file in it"),
        ("load.py", "'load.py' is not a reference to a function"),
    ],
)
def test_unknown_source_is_refused_with_the_nearest(tmp_path, source, words):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "table.csv").write_text(CSV)
    with pytest.raises(InputError) as caught:
        load_dataset(folder=tmp_path, source=source, target="y")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"z": X}, "arrays.npz needs an array 'x' (or 'inputs'); it holds ['z']"),
        ({"x": X}, "arrays.npz needs an array 'y' (or 'targets'); it holds ['x']"),
        ({"x": X, "y": Y[:50]}, "60 inputs and 50 targets"),
        ({"x": X[:, 0], "y": Y}, "inputs have shape (60,) and targets (60,); one row an example is needed"),
        ({"x": X.astype(object), "y": Y}, "array 'x' of arrays.npz holds Python objects, which are not loaded"),
        ({"x": X.astype(str), "y": Y}, "inputs hold str"),
        (
            {"x": np.where(X > 2, np.nan, X), "y": Y},
            "input values are NaN, infinite or too large for float32, the first in",
        ),
        ({"x": X * 1e39, "y": Y}, "input values are NaN, infinite or too large for float32, the first in row 0"),
        ({"x": (X * 1e12).astype(np.int64), "y": Y}, "do not fit 32 bits; make them floats"),
        ({"x": X, "y": np.where(Y == 1, np.nan, 0.5)}, "20 targets are NaN or infinite, the first in row 1"),
        ({"x": X, "y": np.eye(3)[Y], "task": "classification"}, "one label a row, and the target has shape (60, 3)"),
        ({"x": X, "y": Y, "task": "binary"}, "data.task: 'binary' needs 2 classes, and the target has 3"),
        ({"x": X, "y": Y, "task": "ranking"}, "data.task: unknown 'ranking' (known: classification, binary"),
        (
            {"x": X, "y": Y.astype(str), "task": "regression"},
            "regression needs numbers, and the target holds values such as '0'",
        ),
        ({"x": X, "y": Y + 0.5, "task": "classification"}, "the target holds 0.5, and classes are whole numbers"),
        (
            {"x": X, "y": X[:, 0], "split": Split("stratified")},
            "'stratified' needs classes, and the task is regression",
        ),
        ({"x": X, "y": Y, "split": Split("group", column="g")}, "data.split.column: counts only for tables"),
        ({"x": X, "y": Y, "target": "y"}, "data.target: counts only for tables; arrays.npz holds arrays"),
        ({"x": X, "y": Y, "scale_target": True}, "data.scale_target: true counts only for regression"),
    ],
)
def test_broken_arrays_and_requests_are_refused_with_the_remedy(tmp_path, arrays, words):
    keys = {name: arrays[name] for name in ("task", "split", "target", "scale_target") if name in arrays}
    np.savez(tmp_path / "arrays.npz", **{name: value for name, value in arrays.items() if name not in keys})
    with pytest.raises(InputError) as caught:
        load_dataset(folder=tmp_path, source="arrays.npz", **keys)
    assert words in str(caught.value)


def test_array_file_cut_short_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=X, y=Y)
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:100])
    with pytest.raises(InputError, match=r"a\.npz is not a readable \.npz file"):
        load_dataset(folder=tmp_path, source="a.npz")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return {'train': 1}", "returned dict; a function returns arrays (x, y), or a DataFrame"),
        ("return [[1], [2, 3]], [1, 2]", "returned rows of different shapes"),
        ("return open('nowhere.csv')", "data() of load.py raised FileNotFoundError"),
    ],
)
def test_function_that_returns_something_else_is_refused(tmp_path, body, words):
    (tmp_path / "load.py").write_text(f"def data():\n    {body}\n")
    with pytest.raises(InputError) as caught:
        load_dataset(folder=tmp_path, source="load.py:data")
    assert words in str(caught.value)
