"""Gaps that the study states, labels and codes as written, and kinds that it states: in training as in serving."""

import io

import numpy as np
import pandas as pd
import pytest

from nightune.models.data.columns.reading import Choices
from nightune.models.data.loading import load_dataset
from nightune.models.data.settings import DataSettings
from nightune.models.data.splits import Split
from nightune.models.data.tables import fit_preprocessing, split_findings, split_keys
from nightune.models.errors import InputError
from nightune.models.serving.columns import Column, clean_column
from nightune.models.serving.preprocessing import TablePreprocessing

random = np.random.default_rng(6)
ROWS = 60
Z = random.normal(size=ROWS)


def loaded(folder, ending="csv", **keys):
    """The data of a table with the columns that are given as arrays, and the rest as settings."""
    table = pd.DataFrame({"z": Z, "y": Z[::-1], **{name: keys.pop(name) for name in ("x", "y") if name in keys}})
    file = folder / f"t.{ending}"
    table.to_csv(file, index=False) if ending == "csv" else table.to_parquet(file)
    return load_dataset(DataSettings(file.name, target="y", **keys), folder)


def column_of(dataset):
    return next(column for column in dataset.preprocessing.columns if column.name == "x")


def served(dataset, *values):
    """The column's values in rows that a registered version reads."""
    copy = TablePreprocessing.from_json(dataset.preprocessing.as_json())
    column = next(column for column in copy.columns if column.name == "x")
    return clean_column(pd.Series(values, name="x"), column).tolist()


def test_a_gap_is_a_number_only_in_the_form_of_its_column(tmp_path):
    texts = [f"{row % 4},{row % 2 * 5}" for row in range(ROWS)]
    dataset = loaded(tmp_path, x=["1.5", *texts[1:]])
    assert column_of(dataset).form == "1.250,00"
    np.testing.assert_array_equal(served(dataset, "1,5", "1.5", "0,0"), [1.5, np.nan, 0])
    target = loaded(tmp_path, x=texts, y=["1.5", *texts[1:]])
    assert sum(target.sizes.values()) == ROWS - 1


DAYS = np.array([f"2020-01-{row % 28 + 1:02d}" for row in range(ROWS)], dtype=object)
FEW = np.arange(ROWS) < 20
GAPS = {
    "ISO dates": (np.where(FEW, "1900-01-01", DAYS), "1900-01-01"),
    "ISO moments": (np.where(FEW, "1900-01-01 00:00:00", DAYS), "1900-01-01"),
    "far dates": (np.where(FEW, "9999-12-31", DAYS), "9999-12-31"),
    "dates of people": (np.where(FEW, "1/1/1900", [f"{day[8:]}/01/2020" for day in DAYS]), "01/01/1900"),
    "moments": (pd.to_datetime(np.where(FEW, "1900-01-01", DAYS)), "1900-01-01"),
    "time spans": (pd.to_timedelta(np.where(FEW, -1, np.arange(ROWS)), unit="D"), "-1 days"),
    "whole numbers": (np.where(FEW, -999, np.arange(ROWS)), "-999"),
    "labels": (np.where(FEW, " NA ", DAYS + " a"), "NA"),
    "categories of numbers": (pd.Categorical(np.where(FEW, -999, np.arange(ROWS) % 3)), "-999"),
}


@pytest.mark.parametrize("kind", GAPS)
def test_stated_gaps_are_gaps_in_columns_of_every_kind(tmp_path, kind):
    values, gap = GAPS[kind]
    dataset = loaded(tmp_path, "parquet", x=values, missing=(gap,))
    line = next(line for line in dataset.columns if line.name == "x")
    assert line.missing == sum(table_rows(dataset, FEW))
    assert {"x is missing", "x=missing"} & set(dataset.description["features"])
    assert any("20 fields" in finding and "missing" in finding for finding in dataset.findings)
    version = TablePreprocessing.from_json(dataset.preprocessing.as_json())
    row = pd.DataFrame({"x": pd.Series(values).iloc[:1], "z": [0.0]})
    empty = pd.DataFrame({"x": [None], "z": [0.0]})
    np.testing.assert_array_equal(version.transform(row), version.transform(empty))


def table_rows(dataset, mask):
    """The mask of the training rows, found again by their other column."""
    known = dict(zip(Z.astype(np.float32), mask, strict=True))
    place = dataset.preprocessing.feature_names.index("z")
    fitted = dataset.preprocessing.numbers["z"]
    values = dataset.train.inputs[:, place].astype(np.float64) * fitted.scale + fitted.mean
    return [known[min(known, key=lambda each: abs(each - value))] for value in values]


def test_stated_gaps_among_mixed_values_are_gaps():
    values = pd.Series([("a", "b", -999)[row % 3] for row in range(ROWS)], dtype=object)
    preprocessing, findings = fit_preprocessing(
        pd.DataFrame({"x": values}), np.arange(ROWS), Choices(missing=("-999",))
    )
    assert preprocessing.feature_names == ("x=a", "x=b", "x=missing")
    assert "20 fields ('-999') read as missing" in findings[0]


def test_long_codes_keep_their_digits_beside_a_gap():
    values = pd.Series([9007199254740993, 9007199254740995, -999] * 20)
    preprocessing, _ = fit_preprocessing(
        pd.DataFrame({"x": values}), np.arange(ROWS), Choices(missing=("-999",), categorical=("x",))
    )
    assert preprocessing.feature_names == ("x=9007199254740993", "x=9007199254740995", "x=missing")


@pytest.mark.parametrize("form", ["%Y-%m-%d", "%d/%m/%Y"])
def test_a_split_column_with_stated_gaps_is_refused(tmp_path, form):
    days = pd.to_datetime(np.where(FEW, "2199-12-31", DAYS))
    keys = {"x": days.strftime(form), "missing": (days[0].strftime(form),)}
    for kind in ("time", "group"):
        with pytest.raises(InputError, match=r"data\.split\.column: 'x' is missing in 20 rows \(20 of them.*missing"):
            loaded(tmp_path, split=Split(kind, column="x"), **keys)
    with pytest.raises(InputError, match="'x' is missing in 20 rows"):
        loaded(tmp_path, x=np.where(FEW, -999, np.arange(ROWS)), missing=("-999",), split=Split("time", column="x"))


def test_spellings_of_a_group_are_one_unless_the_study_keeps_them_apart():
    groups = pd.Series(["Smith", "smith ", "Lee", "Smith"], name="g")
    assert split_keys(groups, False, Choices()).tolist() == [0, 0, 1, 0]
    assert "'Smith', 'smith '" in split_findings(groups, False, Choices())[0]
    apart = Choices(categorical=("g",))
    assert split_keys(groups, False, apart).tolist() == [0, 1, 2, 0]
    assert split_findings(groups, False, apart) == []


CODES = [("1", "01", "001", "1e0", "7")[row % 5] for row in range(ROWS)]
ZIPS = [("01234", "02345", "13456")[row % 3] for row in range(ROWS)]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_listed_labels_are_exactly_as_written(tmp_path, ending):
    features = loaded(tmp_path, ending, x=CODES, categorical=("x",)).description["features"]
    assert features == ["z", *(f"x={code}" for code in sorted(set(CODES)))]
    classes = loaded(tmp_path, ending, y=CODES, categorical=("y",)).classes
    assert classes == tuple(sorted(set(CODES)))
    truths = loaded(tmp_path, ending, x=["true", "false", "maybe"] * 20, categorical=("x",)).description["features"]
    assert "x=true" in truths


def test_listed_labels_that_are_plain_numbers_are_read_as_before(tmp_path):
    whole = loaded(tmp_path, x=np.arange(ROWS) % 3, categorical=("x",))
    assert (column_of(whole).dtype, whole.description["features"][1]) == ("int64", "x=0")
    with_gaps = np.where(FEW, np.nan, np.arange(ROWS) % 3)
    files = [loaded(tmp_path, ending, x=with_gaps, categorical=("x",)) for ending in ("csv", "parquet")]
    assert files[0].version == files[1].version


def test_digits_with_zeros_in_front_are_labels_in_every_file_with_a_finding(tmp_path):
    files = [loaded(tmp_path, ending, x=ZIPS) for ending in ("csv", "parquet")]
    assert files[0].version == files[1].version
    assert column_of(files[0]).kind == "category"
    assert any('numeric = ["x"]' in finding and "'01234'" in finding for finding in files[0].findings)
    assert column_of(loaded(tmp_path, x=ZIPS, numeric={"x": ""})).kind == "number"
    various = loaded(tmp_path, x=["007", "12", "5"] * 20)
    assert column_of(various).kind == "number"
    assert any('categorical = ["x"]' in finding for finding in various.findings)


def test_digits_with_zeros_in_front_stay_quantities_and_times_where_the_study_says_so(tmp_path):
    padded = [f"{row:03d}" for row in range(ROWS)]
    assert loaded(tmp_path, y=padded, task="regression").train.targets.max() == ROWS - 1
    assert loaded(tmp_path, y=padded, numeric={"y": ""}).task == "regression"
    assert np.diff(split_keys(pd.Series(padded), True, Choices())).tolist() == [1] * (ROWS - 1)


def test_labels_that_numbers_do_not_keep_are_refused_as_numbers_and_read_as_texts(tmp_path):
    dataset = loaded(tmp_path, x=ZIPS)
    sent = "x,z\n01234,0\n"
    with pytest.raises(InputError, match=r"'01234'.*dtype=\{\"x\": str\}"):
        dataset.preprocessing.transform(pd.read_csv(io.StringIO(sent)))
    read = dataset.preprocessing.transform(pd.read_csv(io.StringIO(sent), dtype={"x": str}))
    assert read[0, dataset.preprocessing.feature_names.index("x=01234")] == 1
    truths = loaded(tmp_path, x=["true", "false", "maybe"] * 20)
    with pytest.raises(InputError, match="bool"):
        truths.preprocessing.transform(pd.DataFrame({"x": [True], "z": [0.0]}))


def test_numbers_in_a_column_of_decimal_commas_are_refused(tmp_path):
    dataset = loaded(tmp_path, x=[f"{row % 9 + 1}.{row % 7}50" for row in range(ROWS)], numeric={"x": "1.250,00"})
    sent = "x,z\n1.250,0\n"
    with pytest.raises(InputError, match=r"1\.250,00.*dtype=\{\"x\": str\}"):
        dataset.preprocessing.transform(pd.read_csv(io.StringIO(sent)))
    column = column_of(dataset)
    assert clean_column(pd.read_csv(io.StringIO(sent), dtype={"x": str})["x"], column).tolist() == [1250]
    assert np.isnan(clean_column(pd.Series([np.nan], name="x"), column)).all()


@pytest.mark.parametrize("word", ["missing", "MISSING"])
def test_a_label_named_missing_is_apart_from_gaps(tmp_path, word):
    labels = [("a", word, None, word.capitalize())[row % 4] for row in range(ROWS)]
    dataset = loaded(tmp_path, x=labels)
    assert set(served(dataset, word, word.capitalize(), None)) >= {"no value"}
    assert len(set(served(dataset, word, word.capitalize()))) == 1
    assert "x=no value" in dataset.description["features"]
    line = next(line for line in dataset.columns if line.name == "x")
    assert line.missing == pytest.approx(9, abs=5)
    assert column_of(loaded(tmp_path, x=["a", "b", None, "b"] * 15)).plain == {
        "name": "x",
        "dtype": "str",
        "kind": "category",
    }


@pytest.mark.parametrize(
    ("values", "keys", "words"),
    [
        (np.arange(ROWS) + 10**9, {"dates": {"x": ""}}, r"data\.dates.*numbers.*YYYYMMDD"),
        ([20200101 + row % 28 for row in range(ROWS)], {"dates": {"x": "YYYY/MM/DD"}}, r"data\.dates.*YYYYMMDD"),
        (FEW, {"numeric": {"x": ""}}, r"data\.numeric.*booleans.*out of numeric"),
        (FEW, {"dates": {"x": ""}}, r"data\.dates.*booleans"),
        (DAYS, {"numeric": {"x": ""}}, r"data\.numeric.*no number.*2020-01-01"),
        (pd.to_datetime(DAYS), {"numeric": {"x": ""}}, r"data\.numeric.*dates"),
        (DAYS, {"dates": {"x": "DD/MM/YYYY"}}, r"data\.dates.*no date written like DD/MM/YYYY"),
    ],
)
def test_a_stated_kind_that_the_column_cannot_have_is_refused(tmp_path, values, keys, words):
    with pytest.raises(InputError, match=words):
        loaded(tmp_path, "parquet", x=values, **keys)


def test_a_stated_kind_of_categories_is_obeyed(tmp_path):
    numbers = loaded(tmp_path, "parquet", x=pd.Categorical(np.arange(ROWS) % 5), numeric={"x": ""})
    assert column_of(numbers).kind == "number"
    days = loaded(tmp_path, "parquet", x=pd.Categorical(DAYS), dates={"x": ""})
    assert column_of(days).kind == "date"
    whole = loaded(tmp_path, x=[20200101 + row % 28 for row in range(ROWS)], dates={"x": "YYYYMMDD"})
    assert column_of(whole).kind == "date"


@pytest.mark.parametrize("units", [("m", "ms"), ("mW", "MW"), ("kg", "KG"), ("s", "S")])
def test_units_of_few_letters_are_different_with_case_and_plural(tmp_path, units):
    dataset = loaded(tmp_path, x=[f"{row % 7 + 1} {units[row % 2]}" for row in range(ROWS)])
    assert column_of(dataset).kind == "category"
    assert served(dataset, f"1 {units[0]}", f"1 {units[1]}") == [f"1 {unit}" for unit in units]
    assert any("several kinds" in finding for finding in dataset.findings)
    hours = loaded(tmp_path, x=[f"{row % 7 + 1} {('hour', 'Hours')[row % 2]}" for row in range(ROWS)])
    assert column_of(hours).kind == "number"


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("duration", [3600]),
        ("duration", ["3600"]),
        ("date", [20201231]),
        ("date", ["1600000000"]),
        ("boolean", [5]),
        ("boolean", ["7"]),
        ("boolean", [0.5]),
        ("number", ["1_000"]),
        ("number", [1 + 2j]),
        ("number", [[1.0]]),
        ("category", [[1.0]]),
        ("category", [np.ma.masked]),
    ],
)
def test_values_of_another_kind_are_refused_and_never_guessed(kind, values):
    with pytest.raises(InputError, match=f"'x' is no longer a {kind}"):
        clean_column(pd.Series(values, name="x"), Column("x", "object", kind))


@pytest.mark.parametrize(
    ("kind", "values", "read"),
    [
        ("duration", ["0 days 01:00:00", None], [3600, np.nan]),
        ("date", ["1970-01-02", None], [86400, np.nan]),
        ("boolean", ["True", "false", None, "1"], [1, 0, np.nan, 1]),
        ("boolean", [1, 0], [1, 0]),
        ("number", ["1e3", " 5 ", None, pd.NA], [1000, 5, np.nan, np.nan]),
        ("duration", [np.nan], [np.nan]),
        ("date", [np.nan], [np.nan]),
    ],
)
def test_values_sent_as_texts_are_read(kind, values, read):
    np.testing.assert_array_equal(clean_column(pd.Series(values, name="x"), Column("x", "object", kind)), read)


def test_a_finding_names_the_form_that_settles_it_and_no_key_that_is_set_already():
    def findings(texts, **choices):
        return fit_preprocessing(pd.DataFrame({"x": texts}), np.arange(len(texts)), Choices(**choices))[1]

    assert any('numeric = { "x" = "1,250.00" }' in finding for finding in findings(["1,250", "2,500", "3,125"] * 10))
    dates = findings(["01/02/2020", "03/04/2020"] * 10)
    assert any('dates = { "x" = "DD/MM/YYYY" }' in finding for finding in dates)
    assert not any("categorical" in finding for finding in findings(["1,250", "2,500"] * 10, numeric={"x": "1,250.00"}))
