"""Data files and settings that cannot be used: the error names the key and the remedy."""

import numpy as np
import pandas as pd
import pytest

from nightune.models.data.loading import load_dataset
from nightune.models.data.settings import DataSettings
from nightune.models.data.splits import Split
from nightune.models.errors import InputError

X = np.random.default_rng(5).normal(size=(60, 4))
Y = np.arange(60) % 3
CSV = "a,b,y\n" + "".join(f"{index % 7},{index * 0.37},{'xy'[index % 2]}\n" for index in range(40))


def assert_names(error: InputError, words: list[str]) -> None:
    """Assert that the error has the first word as its key and that its message contains the others."""
    assert error.key == words[0]
    assert not [word for word in words[1:] if word not in error.message]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["data.source", "t.csv", "empty"]),
        (b"a,b,y\n", ["data.source", "t.csv", "no rows", "at least 3"]),
        (b"a,b,y\n1,2,3\n", ["data.source", "t.csv", "1 row", "at least 3"]),
        (CSV.replace("x", "Москва").encode("cp1251"), ["data.source", "t.csv", "UTF-8", "encoding", "cp1251"]),
        (CSV.encode() + b"1,2,3,4\n", ["data.source", "well-formed", "Expected 3 fields in line 42, saw 4"]),
        (CSV.replace("a,b,y", "a,a,y").encode(), ["data.source", "t.csv", "'a'", "rename"]),
        (CSV.replace("a,b,y", "a,y").encode(), ["data.source", "t.csv", "more fields", "header"]),
        (CSV.replace("a,b,y", "a,b,Y").encode(), ["data.target", "'y'; did you mean 'Y'? (known: a, b, Y)"]),
        (b"a,y\n1,\n2,\n3,\n", ["data.target", "'y'", "empty"]),
        (b"a,y\n1,x\n2,x\n3,x\n", ["data.target", "every row", "'x'"]),
        (b"a,y\n1,p\n2,q\n3,r\n4,s\n", ["data.target", "4 different classes in 4 rows", "regression"]),
        (b"a,y\n1,p\n2,p\n3,p\n4,q\n", ["data.split.kind", "2 rows", "'q'", 'kind = "random"']),
        (b"a,y\n1,1.5\n2,1.5\n3,1.5\n", ["data.target", "every row", "1.5"]),
        (b"a,y\n5,1.5\n5,2.5\n5,3.5\n5,7\n", ["data.source", "no column", "single value"]),
    ],
)
def test_broken_csv_is_refused_with_the_remedy(tmp_path, content, words):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_dataset(DataSettings("t.csv", target="y"), tmp_path)
    assert_names(caught.value, words)


def test_parquet_file_cut_short_is_refused(tmp_path):
    pd.DataFrame(X, columns=list("abcd")).to_parquet(tmp_path / "t.parquet")
    content = (tmp_path / "t.parquet").read_bytes()
    (tmp_path / "t.parquet").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"data\.source: .*t\.parquet.*Parquet"):
        load_dataset(DataSettings("t.parquet", target="a"), tmp_path)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("digit", ["'digit'; did you mean 'digits'? (known: breast_cancer, diabetes, digits"]),
        ("tabel.csv", ["'tabel.csv'; did you mean 'table.csv'?"]),
        ("no/such/t.csv", ["'no/such/t.csv'", "no folder"]),
        ("data.xyz", [".csv", ".parquet", ".npz", "path/to/file.py:function"]),
        ("data.pkl", ["'data.pkl'", ".parquet"]),
        ("data.tar.gz", ["unpack"]),
        ("cat.png", ["folder", "class"]),
        ("https://example.org/a.csv", ["download"]),
        ("folder.csv", ["'folder.csv' is a folder", "no file"]),
        ("load.py", ["'load.py'", "path/to/file.py:function"]),
    ],
)
def test_unknown_source_is_refused_with_the_nearest(tmp_path, source, words):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "table.csv").write_text(CSV)
    with pytest.raises(InputError) as caught:
        load_dataset(DataSettings(source, target="y"), tmp_path)
    assert_names(caught.value, ["data.source", *words])


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"z": X}, ["data.source", "arrays.npz", "'x'", "'inputs'", "['z']"]),
        ({"x": X}, ["data.source", "arrays.npz", "'y'", "'targets'", "['x']"]),
        ({"x": X, "y": Y[:50]}, ["data.source", "60 inputs", "50 targets"]),
        ({"x": X[:, 0], "y": Y}, ["data.source", "(60,)", "(100, 8) and (100,)"]),
        ({"x": X.astype(object), "y": Y}, ["data.source", "'x' of arrays.npz", "Python objects"]),
        ({"x": X.astype(str), "y": Y}, ["data.source", "inputs hold texts", "numbers"]),
        ({"x": np.where(X > 2, np.nan, X), "y": Y}, ["data.source", "NaN", "the first in row"]),
        ({"x": X * 1e39, "y": Y}, ["data.source", "too large for float32", "the first in row 0"]),
        ({"x": (X * 1e12).astype(np.int64), "y": Y}, ["data.source", "32 bits", "unique"]),
        ({"x": X, "y": np.where(Y == 1, np.nan, 0.5)}, ["data.source", "20 targets", "the first in row 1"]),
        ({"x": X, "y": np.empty((60, 0))}, ["data.source", "(60, 0)"]),
        ({"x": X, "y": np.array([["a", "b"]] * 60)}, ["data.source", "2 columns", "texts"]),
        ({"x": X, "y": Y, "task": "binary"}, ["data.task", "'binary'", "2 classes", "3", "multiclass"]),
        ({"x": X, "y": Y, "task": "ranking"}, ["data.task", "'ranking' (known: classification, binary"]),
        ({"x": X, "y": Y.astype(str), "task": "regression"}, ["data.source", "numbers", "'0'", "classification"]),
        ({"x": X, "y": Y + 0.5, "task": "classification"}, ["data.source", "0.5", "whole numbers", "regression"]),
        ({"x": X, "y": X[:, 0], "split": Split("stratified")}, ["data.split.kind", "'stratified'", "regression"]),
        ({"x": X, "y": Y, "split": Split("group", column="g")}, ["data.split.column", "tables", "arrays.npz"]),
        ({"x": X, "y": Y, "target": "y"}, ["data.target", "tables", "arrays.npz"]),
        ({"x": X, "y": Y, "drop": ("a",)}, ["data.drop", "tables", "arrays.npz"]),
        ({"x": X, "y": Y, "categorical": ("a",)}, ["data.categorical", "tables", "arrays.npz"]),
        ({"x": X, "y": Y, "scale_target": True}, ["data.scale_target", "regression"]),
    ],
)
def test_broken_arrays_and_requests_are_refused_with_the_remedy(tmp_path, arrays, words):
    keys = {name: value for name, value in arrays.items() if name not in ("x", "y", "z")}
    np.savez(tmp_path / "arrays.npz", **{name: value for name, value in arrays.items() if name not in keys})
    with pytest.raises(InputError) as caught:
        load_dataset(DataSettings("arrays.npz", **keys), tmp_path)
    assert_names(caught.value, words)


def test_array_file_cut_short_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=X, y=Y)
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:100])
    with pytest.raises(InputError, match=r"data\.source: .*a\.npz"):
        load_dataset(DataSettings("a.npz"), tmp_path)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return {'train': 1}", ["load.py:data", "dict", "(x, y)", "DataFrame"]),
        ("return [[1], [2, 3]], [1, 2]", ["load.py:data", "different lengths", "pad"]),
        ("return open('nowhere.csv')", ["data() of load.py", "FileNotFoundError"]),
    ],
)
def test_function_that_returns_something_else_is_refused(tmp_path, body, words):
    (tmp_path / "load.py").write_text(f"def data():\n    {body}\n")
    with pytest.raises(InputError) as caught:
        load_dataset(DataSettings("load.py:data"), tmp_path)
    assert_names(caught.value, ["data.source", *words])
