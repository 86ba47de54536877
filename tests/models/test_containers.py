"""What a container hides is read as meant, or refused with the remedy: in training and in serving alike."""

import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from nightune.models.data.contents import Arrays, Table
from nightune.models.data.loading import load_dataset
from nightune.models.data.returned import from_result
from nightune.models.data.settings import DataSettings
from nightune.models.data.storage import open_dataset, save_dataset
from nightune.models.errors import InputError
from nightune.models.serving import arrays
from nightune.models.serving.predictor import Predictor

ROWS = 30
X = np.random.default_rng(7).normal(size=(ROWS, 3)).astype(np.float32)
IDS = np.random.default_rng(7).integers(0, 9, (ROWS, 3))
Y = np.arange(ROWS) % 3
MASK = X > 0.3


def objects(values):
    """A vector of objects, however they look."""
    vector = np.empty(len(values), dtype=object)
    for place, value in enumerate(values):
        vector[place] = value
    return vector


class Rows(np.ndarray):
    """A subclass of arrays."""


def trained(inputs, targets=Y):
    result = from_result((inputs, targets), "d.py:f")
    assert isinstance(result, Arrays)
    return result


def predictor(kind="float32", **description):
    known = {"input_shape": [3], "input_type": kind, "output_size": 1, "task": "binary", "is_logits": True}
    return Predictor(None, None, {**known, "classes": ["no", "yes"], **description})


READ = {
    "sparse matrix": (sparse.csr_matrix(X), X),
    "sparse array": (sparse.coo_array(X), X),
    "mask of nothing": (np.ma.array(X, mask=False), X),
    "objects": (X.astype(object), X),
    "objects that are rows": (objects(list(X)), X),
    "objects that are lists": (objects(X.tolist()), X),
    "decimals": (objects([[Decimal(1), 2, 0.5]] * ROWS), np.tile(np.float32([1, 2, 0.5]), (ROWS, 1))),
    "half precision": (X.astype(np.float16), X.astype(np.float16).astype(np.float32)),
    "extended precision": (X.astype(np.longdouble), X),
    "other byte order": (X.astype(">f4"), X),
    "a subclass": (X.view(Rows), X),
    "lists": (X.tolist(), X),
    "a table": (pd.DataFrame(X), X),
    "a mixed table": (pd.DataFrame(X).assign(a=X[:, 0] > 0).iloc[:, 1:], np.c_[X[:, 1:], X[:, 0] > 0]),
    "a table of nullable numbers": (pd.DataFrame(X).astype("Float64"), X),
    "a sparse table": (pd.DataFrame(X).astype(pd.SparseDtype("float32", 0.0)), X),
}


@pytest.mark.parametrize("name", READ)
def test_inputs_are_read_as_meant(name):
    given, meant = READ[name]
    read = trained(given).inputs
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, meant.astype(np.float32))
    np.testing.assert_array_equal(predictor().inputs(given), read)


@pytest.mark.parametrize(
    "given", [IDS.astype(object), IDS.astype(">i8"), pd.DataFrame(IDS).astype("Int64"), objects(list(IDS)), IDS * 1.0]
)
def test_whole_numbers_stay_whole(given):
    if not (isinstance(given, np.ndarray) and given.dtype.kind == "f"):
        assert trained(given).inputs.dtype == np.int32
    np.testing.assert_array_equal(predictor("int32").inputs(given), IDS.astype(np.int32))


RECORDS = np.zeros(ROWS, dtype=[("a", "<f4"), ("b", "<i4")])
REFUSED = {
    "a mask": (np.ma.array(X, mask=MASK), "values are masked, the first in row .*filled"),
    "rows with masks": ([np.ma.array(row, mask=row > 1) for row in X], "values are masked, the first in row"),
    "objects with masks": (objects([np.ma.array(row, mask=row > 1) for row in X]), "values are masked"),
    "masked values": ([[1.0, np.ma.masked, 2.0]] * ROWS, "values are masked"),
    "None": (np.where(MASK, None, X), "row .*|NaN"),
    "NA": (pd.DataFrame(IDS).astype("Int64").mask(IDS == 3), "row .*|NaN"),
    "rows of different lengths": ([[1.0, 2.0], [1.0]] * (ROWS // 2), "different (lengths|shapes).*pad"),
    "records": (RECORDS, "records.*DataFrame"),
    "complex numbers": (X + 1j, r"complex numbers.*np\.abs"),
    "complex objects": ((X + 1j).astype(object), "complex numbers"),
    "moments": (np.full((ROWS, 3), np.datetime64("2020-01-01")), "moments.*DataFrame"),
    "dates": ([[datetime.date(2020, 1, 1)] * 3] * ROWS, "moments.*DataFrame"),
    "time spans": (np.full((ROWS, 3), np.timedelta64(1, "s")), "time spans"),
    "time spans as objects": ([[np.timedelta64(1, "s")] * 3] * ROWS, "time spans"),
    "texts": (np.full((ROWS, 3), "a"), "numbers"),
    "bytes": (np.full((ROWS, 3), b"1"), "numbers"),
    "dictionaries": (np.full((ROWS, 3), {}, dtype=object), "dict"),
    "a single value": (np.array(5.0), "shape"),
    "a generator": ((row for row in X), "generator.*array"),
    "numbers beyond 64 bits": (np.full((ROWS, 3), 2**70, dtype=object), "64 bits.*unique"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_inputs_that_cannot_be_meant_are_refused_with_the_remedy(name):
    given, words = REFUSED[name]
    with pytest.raises(InputError, match=words):
        trained(given)
    with pytest.raises(InputError, match=words):
        predictor().inputs(given)


def test_a_sparse_matrix_that_would_fill_the_memory_is_refused(monkeypatch):
    monkeypatch.setattr(arrays, "LARGEST_DENSE", 100)
    with pytest.raises(InputError, match=r"GiB with its zeros.*TruncatedSVD"):
        trained(sparse.csr_matrix(X))


LABELS = np.array(["a", "b", "c"])[Y]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (Y.astype(object), Y),
        ((Y > 0).astype(object), Y > 0),
        (Y.astype(">i4"), Y),
        (pd.array(Y, dtype="Int64"), Y),
        (objects([np.array(each) for each in Y]), Y),
        (objects([np.array([each]) for each in Y]), Y),
        (X[:, 0].astype(np.longdouble), X[:, 0]),
        (LABELS.astype(object), LABELS),
        (LABELS.astype(bytes), LABELS),
        (LABELS.astype(np.dtypes.StringDType()), LABELS),
        (pd.Categorical(LABELS), LABELS),
        (["a", 1, 2.0] * 10, np.array(["a", "1", "2"] * 10)),
    ],
)
def test_targets_are_read_as_meant(given, meant):
    read = trained(X, given).targets
    assert read.dtype.kind == meant.dtype.kind
    np.testing.assert_array_equal(read, meant)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.ma.array(Y, mask=Y == 2), "10 values are masked, the first in row 2"),
        (np.where(Y == 2, None, LABELS), "10 values are missing, the first in row 2"),
        (Y + 1j, "complex"),
        (pd.to_datetime(LABELS, errors="coerce", format="%Y"), "moments"),
        (pd.Series(pd.period_range("2020", periods=ROWS)), "Period"),
        (RECORDS[["a"]], "records"),
    ],
)
def test_targets_that_cannot_be_meant_are_refused(given, words):
    with pytest.raises(InputError, match=words):
        trained(X, given)


def test_rows_in_another_order_are_refused_and_read_with_each_remedy():
    inputs, targets = pd.DataFrame(X), pd.Series(Y)[::-1]
    with pytest.raises(InputError, match=r"another order.*y\.loc\[x\.index\].*reset_index"):
        trained(inputs, targets)
    assert trained(inputs, targets.loc[inputs.index]).targets.tolist() == Y.tolist()
    assert trained(inputs, targets.reset_index(drop=True)).targets.tolist() == Y[::-1].tolist()


COLUMNS = {
    "a mask": (np.ma.array(X[:, 0], mask=MASK[:, 0]), "number"),
    "sparse": (pd.arrays.SparseArray(np.where(X[:, 0] > 0, X[:, 0], 0)), "number"),
    "NA among objects": (objects([pd.NA if row == 3 else row % 7 for row in range(ROWS)]), "number"),
    "NA among decimals": (objects([None if row == 3 else Decimal(row) for row in range(ROWS)]), "number"),
    "other byte order": (X[:, 0].astype(">f4"), "number"),
    "half precision": (X[:, 0].astype(np.float16), "number"),
    "extended precision": (X[:, 0].astype(np.longdouble), "number"),
    "nullable booleans": (pd.array([None, *(Y[1:] > 0)], dtype="boolean"), "boolean"),
    "bytes": (objects([(b"a", b"\xff", b"\xfe")[row % 3] for row in range(ROWS)]), "category"),
    "moments of days": (np.array(["2020-01-01", "2020-01-02", "NaT"], dtype="M8[D]")[Y], "date"),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_of_a_table_are_read_as_meant_and_alike_in_serving(tmp_path, name):
    values, kind = COLUMNS[name]
    frame = pd.DataFrame({"x": values, "z": X[:, 1], "y": X[:, 2]})
    frame.to_pickle(tmp_path / "t.pickle")
    (tmp_path / "d.py").write_text(
        f"import pandas as pd\ndef f():\n    return pd.read_pickle({str(tmp_path / 't.pickle')!r})\n"
    )
    dataset = load_dataset(DataSettings("d.py:f", target="y"), tmp_path)
    stored = open_dataset(save_dataset(dataset, tmp_path / "data"))
    assert stored.preprocessing.columns[0].kind == kind
    features = stored.preprocessing.transform(frame)
    assert np.isfinite(features).all()
    rows = stored.preprocessing.transform(stored.example)
    np.testing.assert_array_equal(rows, stored.train.inputs[: len(rows)])
    if name == "bytes":
        assert len(dataset.description["features"]) == 4
    if name == "a mask":
        marks = features[:, dataset.description["features"].index("x is missing")]
        np.testing.assert_array_equal(marks, MASK[:, 0])


def test_records_are_a_table_and_their_masks_are_gaps():
    records = np.ma.array(RECORDS.copy())
    records["a"] = X[:, 0]
    records["a"].mask = MASK[:, 0]
    table = from_result(records, "d.py:f")
    assert isinstance(table, Table)
    np.testing.assert_array_equal(table.frame["a"].isna(), MASK[:, 0])


@pytest.mark.parametrize(
    "values",
    [X[:, 0] + 1j, objects([[1, 2]] * ROWS), objects([np.arange(2)] * ROWS), pd.period_range("2020", periods=ROWS)],
)
def test_columns_that_cannot_be_meant_are_refused_with_the_remedy(tmp_path, values):
    from nightune.models.data.columns.reading import Choices
    from nightune.models.data.tables import fit_preprocessing

    with pytest.raises(InputError, match=r"'x' holds .*drop = \[\"x\"\]"):
        fit_preprocessing(pd.DataFrame({"x": values, "z": Y}), np.arange(ROWS), Choices())


@pytest.mark.parametrize("value", [0.5, 2.0**32 + 3, np.nan, np.inf, 2**40])
def test_inputs_that_no_whole_number_holds_are_refused_with_row_and_value(value):
    with pytest.raises(InputError, match=rf"row 1 holds {str(value).replace('+', '.')}; .*int32"):
        predictor("int32").inputs([[1, 2, 3], [1, value, 3]])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_inputs_that_are_not_finite_are_refused_with_row_and_value(tmp_path, value):
    with pytest.raises(InputError, match=r"row 1 holds .*finite"):
        predictor().inputs([[1, 2, 3], [1, value, 3]])
    pd.DataFrame({"x": X[:, 0], "y": LABELS}).to_csv(tmp_path / "t.csv", index=False)
    dataset = load_dataset(DataSettings("t.csv", target="y"), tmp_path)
    served = Predictor(None, dataset.preprocessing, dataset.description)
    if not np.isfinite(value):  # a gap, as in training
        assert np.isfinite(served.inputs(pd.DataFrame({"x": [value]}))).all()
    with pytest.raises(InputError, match=r"row 1: column 'x' holds 1e\+300"):
        served.inputs(pd.DataFrame({"x": [1.0, 1e300]}))


@pytest.mark.parametrize("rows", [{"x": [0.5]}, [{"x": 0.5}], np.array([(0.5,)], dtype=[("x", "<f8")])])
def test_rows_of_a_table_may_be_sent_in_other_containers(tmp_path, rows):
    pd.DataFrame({"x": X[:, 0], "y": LABELS}).to_csv(tmp_path / "t.csv", index=False)
    dataset = load_dataset(DataSettings("t.csv", target="y"), tmp_path)
    served = Predictor(None, dataset.preprocessing, dataset.description)
    np.testing.assert_array_equal(served.inputs(rows), served.inputs(pd.DataFrame({"x": [0.5]})))
    with pytest.raises(InputError, match="DataFrame"):
        served.inputs({"x": 0.5})


def test_outputs_that_are_no_answer_are_refused_with_their_row():
    outputs = np.array([[1.0], [np.nan]])
    with pytest.raises(InputError, match="row 1 is nan"):
        predictor().answers(outputs)
    with pytest.raises(InputError, match="row 0 is inf"):
        predictor(task="regression", classes=None).answers(np.array([[np.inf]]))
    assert predictor().answers(np.array([[np.inf], [-1.0]])).tolist() == ["yes", "no"]
