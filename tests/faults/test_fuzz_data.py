"""Every CSV file is data that can be trained on, or a StudyError that names the problem."""

import csv
import io
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nightune.models.data.contents import Arrays
from nightune.models.data.dataset import Purpose
from nightune.models.data.files.kinds import KINDS, PACKED
from nightune.models.data.loading import load_dataset
from nightune.models.data.raw_data import RawData
from nightune.models.data.returned import from_result
from nightune.models.data.rows_to_predict import read_rows
from nightune.models.data.settings import DataSettings
from nightune.models.data.source_options import SourceOptions
from nightune.models.data.splits import Split
from nightune.models.data.targets import encode_targets
from nightune.models.errors import InputError
from nightune.tasks.load_study import load_study
from nightune.tasks.prepare_data import read_dataset
from nightune.tuning.errors import StudyError
from nightune.vocabulary import TASKS

CASES = int(os.environ.get("NIGHTUNE_FUZZ_CASES", "100"))  # `make fuzz` runs 10,000

fuzzed = settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=CASES < 1000)

STUDY = """
question = "What does the table say?"
[data]
source = "table.csv"
target = {target}
split = {split}
[space]
learning_rate.peak = 0.1
[search]
trials = 1
epochs = 1
"""

SPLITS = (
    '{ kind = "random", validation = 0.2, test = 0.2 }',
    '{ kind = "stratified", validation = 0.2, test = 0.2 }',
    '{ kind = "time", column = "x", gap = 1 }',
    '{ kind = "time", column = "x", gap = "2 days" }',
    '{ kind = "fixed", column = "x" }',
    '{ kind = "fixed", test = "table.csv" }',
    "{ allow_overlap = true }",
    "{ folds = 2, allow_overlap = true }",
    '{ kind = "random", folds = 3 }',
    '{ kind = "group", column = "x", folds = 2 }',
    '{ kind = "time", column = "x", folds = 2, gap = 1 }',
)

cells = st.one_of(
    st.integers(-(10**20), 10**20).map(str),
    st.floats().map(str),
    st.sampled_from(
        ["", "NA", "nan", "inf", "-1e400", "true", "no", "2024-02-30", "2024-01-01", "a,b", '"', "é", "\ufeff"]
    ),
    st.text(max_size=6),
)
columns = st.one_of(
    st.lists(cells, min_size=12, max_size=12),
    st.lists(st.floats(allow_nan=False, width=32).map(str), min_size=12, max_size=12),
    st.lists(st.sampled_from(["train", "val", "Test", "ranking"]), min_size=12, max_size=12),
    st.sampled_from([["1"] * 12, ["a", "b"] * 6, ["0", "1", "2"] * 4, [str(i) for i in range(12)], [""] * 12]),
)
names = st.one_of(st.text(max_size=5), st.sampled_from(["x", "y", "x", "", " ", "target", "1", "ä", "a.b"]))


def read(content: bytes, target: str | list[str], split: str = SPLITS[0]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "table.csv").write_bytes(content)
        path = Path(folder) / "study.toml"
        path.write_text(STUDY.format(target=written(target), split=split))
        try:
            dataset = read_dataset(load_study(path))
        except StudyError as error:
            assert str(path) in str(error)  # noqa: PT017 - either outcome is well
            return
        parts = [(each.train, each.validation) for each in (dataset, *dataset.folds)]
        for examples in (part for pair in parts for part in pair):
            assert len(examples) > 0
            assert examples.inputs.shape[1:] == dataset.input_shape
            assert np.isfinite(examples.inputs).all()
            assert np.isfinite(examples.targets).all()
        assert dataset.output_size >= 1


def written(target: str | list[str]) -> str:
    """Write the name of a column, or a list of names, as in a study file."""
    if isinstance(target, list):
        return f"[{', '.join(map(written, target))}]"
    text = target.encode("unicode_escape").decode().replace('"', "").replace("\\x", "x")
    return f'"{text or "y"}"'.replace("\\", "\\\\")


keys = st.one_of(
    st.lists(st.integers(0, 4), min_size=12, max_size=12),
    st.lists(st.floats(width=32), min_size=12, max_size=12),
    st.lists(st.sampled_from(["train", "val", "test", "2026-01-31", "", "2026"]), min_size=12, max_size=12),
    st.lists(st.integers(0, 4), max_size=13),
)


@fuzzed
@given(
    st.dictionaries(st.sampled_from(["group", "time", "part", "x_train", "weight", "other"]), keys, max_size=3),
    st.sampled_from(
        [
            Split(),
            Split("group"),
            Split("time", gap=1),
            Split("time", gap="1 day"),
            Split("fixed"),
            Split(folds=2),
            Split("group", folds=3),
            Split("time", folds=2, gap=1),
            Split("time", folds=2, gap="1 day"),
        ]
    ),
)
def test_any_keys_of_arrays_split_each_row_or_are_refused(given_keys: dict[str, list[object]], split: Split) -> None:
    x = np.random.default_rng(0).normal(size=(12, 2))
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "a.npz", x=x, y=x[:, 0], **{name: np.array(each) for name, each in given_keys.items()})
        try:
            dataset = load_dataset(DataSettings("a.npz", split=split), Path(folder))
        except InputError as error:
            assert error.key == "data.source" or error.key.startswith("data.split")  # noqa: PT017 - either is well
            return
    assert sum(dataset.sizes.values()) <= 12
    assert split.gap or split.folds or sum(dataset.sizes.values()) == 12
    for fold in dataset.folds:
        assert 2 <= len(fold.train) + len(fold.validation) <= len(dataset.train)
    assert (dataset.train.weights is None) == ("weight" not in given_keys)
    assert dataset.train.weights is None or (np.isfinite(dataset.train.weights) & (dataset.train.weights >= 0)).all()


@pytest.mark.slow
@fuzzed
@given(columns)
def test_any_column_of_weights_is_read_or_refused(column: list[str]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([("x", "y", "w"), *((row, row % 5 + row / 7, each) for row, each in enumerate(column))])
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "t.csv").write_bytes(text.getvalue().encode("utf-8", "surrogatepass"))
        try:
            dataset = load_dataset(DataSettings("t.csv", target="y", weight="w"), Path(folder))
        except InputError as error:
            assert error.key in ("data.weight", "data.source")  # noqa: PT017 - either outcome is well
            return
    assert dataset.train.weights is not None
    assert (np.isfinite(dataset.train.weights) & (dataset.train.weights >= 0)).all()
    assert dataset.train.weights.any()


elements = st.one_of(
    st.integers(-(2**40), 2**40), st.floats(width=32), st.booleans(), st.text(max_size=2), st.none(), st.just([])
)
rows_of_lists = st.lists(st.lists(elements, max_size=4), min_size=1, max_size=12)
pads = st.fixed_dictionaries(
    {"side": st.sampled_from(["start", "end"])},
    optional={"length": st.integers(1, 5), "value": st.integers(-3, 3) | st.floats(-1, 1)},
)


@fuzzed
@given(
    rows_of_lists,
    st.none() | pads,
    st.sampled_from(["lists", "examples", "batches"]),
    st.sampled_from(["", "batches", "examples"]),
)
def test_any_rows_of_any_lengths_are_read_or_refused(
    rows: list[object], pad: dict[str, object] | None, form: str, stated: str
) -> None:
    targets = [place % 2 for place in range(len(rows))]
    given: object = (rows, targets)
    if form == "examples":
        given = zip(rows, targets, strict=True)
    elif form == "batches":
        given = iter([(rows[:5], np.array(targets[:5])), (rows[5:], np.array(targets[5:]))])
    try:
        arrays = from_result(given, "d.py:f", SourceOptions(pad=pad or {}, loader=stated if form != "lists" else ""))
    except InputError as error:
        assert error.key in ("data.source", "data.pad")  # noqa: PT017 - either outcome is well
        return
    assert isinstance(arrays, Arrays)
    assert len(arrays.inputs) == len(arrays.targets)
    assert len(arrays.inputs) == len(rows) or stated
    assert np.isfinite(arrays.inputs).all()


words = st.one_of(columns, st.lists(st.text(max_size=12), min_size=12, max_size=12))
CHOSEN: tuple[dict[str, Any], ...] = (
    {"text": {"w": {"words": 5, "length": 2}}},
    {"codes": {"w": 0}},
    {"codes": {"w": 3}},
    {"hashed": {"w": 3}},
    {"target_encoded": ("w",)},
    {"date_parts": {"w": ()}, "dates": {"w": ""}},
)


@pytest.mark.slow
@settings(fuzzed, max_examples=CASES // 3)
@given(words, words, st.sampled_from(CHOSEN), st.sampled_from([0, 2]))
def test_any_column_is_encoded_as_the_study_says_or_refused(
    column: list[str], other: list[str], chosen: dict[str, Any], folds: int
) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([("w", "o", "y"), *zip(column, other, np.arange(12) / 7, strict=True)])
    split = Split("random", folds=folds, allow_overlap=True)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "t.csv").write_bytes(text.getvalue().encode("utf-8", "surrogatepass"))
        try:
            dataset = load_dataset(DataSettings("t.csv", target="y", split=split, **chosen), Path(folder))
            assert dataset.preprocessing is not None
            rows = read_rows(Path(folder) / "t.csv", dataset.description).rows
        except InputError as error:
            known = ("data.source", "data.target", *(f"data.{key}" for key in chosen), f"{folder}/t.csv")
            assert error.key in known  # noqa: PT017 - either outcome is well
            return
    again = dataset.preprocessing.as_named(dataset.preprocessing.transform(rows))
    test = dataset.test.open(Purpose.GATE, record=lambda: None)
    held = dataset.preprocessing.as_named(test.inputs)
    for name, array in again.items():
        assert np.isfinite(array).all()
        assert {row.tobytes() for row in held[name]} <= {row.tobytes() for row in array}
    for name, size in dataset.vocabulary_sizes.items():
        assert again[name].dtype == np.int32
        assert ((again[name] >= 0) & (again[name] < size)).all()
    for fold in dataset.folds:
        assert fold.input_shape == dataset.input_shape


matrices = st.one_of(
    *(
        st.lists(st.lists(values, min_size=3, max_size=3), min_size=12, max_size=12).map(np.array)
        for values in (
            st.booleans(),
            st.sampled_from([0, 1]),
            st.sampled_from([-1.0, 1.0]),
            st.integers(-3, 3),
            st.floats(allow_nan=False, width=32),
        )
    ),
    st.lists(st.sampled_from([[0, 0, 1], [0, 1, 0], [1, 0, 0], [1, 1, 0]]), min_size=12, max_size=12).map(np.array),
)


@fuzzed
@given(matrices, st.sampled_from([None, *TASKS]))
def test_any_matrix_of_targets_is_classes_labels_or_quantities_or_is_refused(y: np.ndarray, task: str | None) -> None:
    raw = RawData(np.zeros((12, 2), np.float32), y, task)
    try:
        targets = encode_targets(raw)
    except InputError as error:
        assert error.key in ("data.task", "data.source")  # noqa: PT017 - either outcome is well
        return
    if targets.task == "regression":
        np.testing.assert_allclose(targets.values, y.astype(np.float32))
    elif targets.task == "multilabel":
        np.testing.assert_array_equal(targets.values, y > 0)
    elif targets.task == "positions":
        np.testing.assert_array_equal(np.array(targets.classes)[targets.values], y)
    else:
        np.testing.assert_array_equal(np.eye(3)[targets.values], y > 0)
    is_settled = task in ("classification", "multiclass") and targets.task != "regression"
    assert task in (None, targets.task) or is_settled


@pytest.mark.slow
@fuzzed
@given(
    st.lists(st.tuples(names, columns), min_size=1, max_size=4),
    st.sampled_from(SPLITS),
    st.booleans(),
)
def test_any_table_is_data_or_a_study_error(table: list[tuple[str, list[str]]], split: str, has_pair: bool) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([name for name, _ in table])
    writer.writerows(zip(*(column for _, column in table), strict=True))
    name = table[-1][0]
    read(text.getvalue().encode("utf-8", "surrogatepass"), [name, table[0][0]] if has_pair else name, split)


NAMES_OF_FILES = [
    *(f"t{suffix}" for suffix in KINDS),
    *(f"t{each}{packed}" for each in (".csv", ".json") for packed in PACKED),
]
MAGIC = [
    b"",
    b"PAR1",
    b"PK\x03\x04",
    b"\x1f\x8b\x08",
    b"SQLite format 3\0",
    b"\x89HDF\r\n\x1a\n",
    b"\x93NUMPY",
    b"ARROW1\0\0",
    b'[{"y": 1}, {"y": ',
]


@fuzzed
@given(st.sampled_from(NAMES_OF_FILES), st.sampled_from(MAGIC), st.binary(max_size=200))
def test_any_bytes_of_any_kind_of_file_are_data_or_are_refused(name: str, magic: bytes, rest: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).write_bytes(magic + rest)
        try:
            load_dataset(DataSettings(name, target="y"), Path(folder))
        except InputError as error:
            assert error.key.startswith("data.")  # noqa: PT017 - either outcome is well


plain_cells = st.one_of(
    st.integers(-999, 999).map(str), st.sampled_from(["1,5", "2.25", "1.250", "é", "a;b", "", "x y"])
)


@pytest.mark.slow
@fuzzed
@given(
    st.lists(st.tuples(plain_cells, plain_cells), min_size=12, max_size=12),
    st.sampled_from([",", ";", "\t", "|", " "]),
    st.sampled_from(["utf-8", "utf-16", "cp1252"]),
    st.fixed_dictionaries(
        {},
        optional={
            "separator": st.sampled_from([",", ";", " "]),
            "decimal": st.sampled_from([",", "."]),
            "encoding": st.sampled_from(["utf-8", "cp1252", "utf-16", "ascii"]),
        },
    ),
)
def test_any_dialect_is_read_or_refused(
    rows: list[tuple[str, str]], separator: str, encoding: str, keys: dict[str, str]
) -> None:
    text = io.StringIO()
    csv.writer(text, delimiter=separator).writerows(
        [("a", "b", "y"), *((*row, place % 2) for place, row in enumerate(rows))]
    )
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "t.csv").write_bytes(text.getvalue().encode(encoding))
        try:
            data = load_dataset(DataSettings("t.csv", target="y", **keys), Path(folder))
        except InputError as error:
            assert error.key.startswith("data.")  # noqa: PT017 - either outcome is well
            return
    assert data.classes == (0, 1)
    assert np.isfinite(data.train.inputs).all()


@fuzzed
@given(st.binary(max_size=300))
def test_any_bytes_are_data_or_a_study_error(content: bytes) -> None:
    read(content, "y")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n\n\n",
        b"x,y\n",
        b"x,y\n1,2\n",
        b"x,y\n" + b"1,2\n" * 50,
        b"x,y\n" + b"".join(b"%d,a\n" % i for i in range(50)),
        b"x,y\n" + b"".join(b"%d,%d\n" % (i, i) for i in range(50)) + b"1,2,3,4\n",
        ",".join(["x"] * 2000 + ["y"]).encode() + b"\n" + (",".join(["1"] * 2001) + "\n").encode() * 20,
        "größe,y\n".encode() + "ä,1\nß,2\n".encode() * 20,
    ],
    ids=["empty", "blank", "header", "one row", "constant", "one class", "ragged", "wide", "non-ASCII"],
)
def test_unusual_tables_are_data_or_refused(content: bytes) -> None:
    read(content, "y")
