import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import StandardScaler

from nightune.models.data.columns.reading import Choices
from nightune.models.data.contents import Table
from nightune.models.data.raw_data import separate_target
from nightune.models.data.settings import DataSettings
from nightune.models.data.splits import Split
from nightune.models.data.tables import _make_transformer, fit_preprocessing, split_keys
from nightune.models.errors import InputError
from nightune.models.serving.preprocessing import TablePreprocessing, clean_table

EVERY_ROW = np.arange(6)


def fit(columns, train=EVERY_ROW, categorical=()):
    return fit_preprocessing(pd.DataFrame(columns), np.asarray(train), Choices(categorical=tuple(categorical)))


def separated(table, **keys):
    return separate_target(Table(table), DataSettings("table.csv", **keys))


def test_numbers_are_standardized_with_the_training_rows_only():
    values = np.array([1.0, 2.0, 3.0, 4.0, 500.0, -500.0])
    preprocessing, _ = fit({"a": values}, train=[0, 1, 2, 3])
    expected = StandardScaler().fit(values[:4].reshape(-1, 1)).transform(values.reshape(-1, 1))
    result = preprocessing.transform(pd.DataFrame({"a": values}))
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=1e-6)


def test_missing_numbers_become_the_training_median_with_an_indicator():
    values = np.array([1.0, np.nan, 3.0, 100.0, 5.0, np.nan])
    preprocessing, _ = fit({"a": values}, train=[0, 1, 2, 4])
    result = preprocessing.transform(pd.DataFrame({"a": values}))
    assert preprocessing.feature_names == ("a", "a is missing")
    np.testing.assert_array_equal(result[:, 1], [0, 1, 0, 0, 0, 1])
    assert result[1, 0] == result[2, 0] == result[5, 0]


def test_column_complete_in_training_has_no_indicator():
    preprocessing, _ = fit({"a": [1.0, 2, 3, 4, np.nan, 6]}, train=[0, 1, 2, 3])
    assert preprocessing.feature_names == ("a",)


def test_infinite_numbers_are_missing_and_reported():
    preprocessing, findings = fit({"a": [1.0, np.inf, 3, -np.inf, 5, 6]})
    assert preprocessing.feature_names == ("a", "a is missing")
    (finding,) = findings
    assert "'a': 2 infinite values" in finding


def test_booleans_are_zero_and_one_with_gaps_marked():
    preprocessing, _ = fit({"a": [True, False, None, True, True, False], "b": [True, False] * 3})
    result = preprocessing.transform(pd.DataFrame({"a": [None, False], "b": [True, False]}))
    assert preprocessing.feature_names == ("a", "b", "a is missing")
    np.testing.assert_array_equal(result, [[1, 1, 1], [0, 0, 0]])


def test_categories_are_one_hot_and_unknown_ones_zero():
    preprocessing, _ = fit({"city": ["Köln", "Paris", None, "Paris", "Köln", "Köln"]})
    assert preprocessing.feature_names == ("city=Köln", "city=Paris", "city=missing")
    result = preprocessing.transform(pd.DataFrame({"city": ["Paris", "Rome", None]}))
    np.testing.assert_array_equal(result, [[0, 1, 0], [0, 0, 0], [0, 0, 1]])


def test_rare_categories_share_one_column():
    names = [f"common {index}" for index in range(60) for _ in range(3)] + [f"rare {index}" for index in range(100)]
    preprocessing, _ = fit({"name": names}, train=range(len(names)))
    assert len(preprocessing.feature_names) == 50


def test_named_numbers_are_categories_whether_or_not_a_gap_made_them_floats():
    preprocessing, _ = fit({"zip": [10.0, 20, 10, np.nan, 20, 10]}, categorical=["zip"])
    assert preprocessing.feature_names == ("zip=10", "zip=20", "zip=missing")
    np.testing.assert_array_equal(preprocessing.transform(pd.DataFrame({"zip": [20]})), [[0, 1, 0]])


@pytest.mark.parametrize(
    "dates",
    [
        pd.to_datetime(["2026-01-01", "2026-01-02", "2026-01-03", None, "2026-01-05", "2026-01-06"]),
        ["2026-01-01", "2026-01-02", "2026-01-03", None, "2026-01-05", "2026-01-06"],
        [datetime.date(2026, 1, day) if day != 4 else None for day in range(1, 7)],
    ],
    ids=["datetimes", "texts", "dates"],
)
def test_dates_are_seconds(dates):
    preprocessing, _ = fit({"day": dates})
    assert preprocessing.columns[0].kind == "date"
    seconds = clean_table(pd.DataFrame({"day": dates}), preprocessing.columns)["day"]
    np.testing.assert_array_equal(np.diff(seconds.iloc[:3]), [86400, 86400])
    assert np.isnan(seconds.iloc[3])


def test_dates_of_every_precision_are_seconds():
    days = pd.Series(pd.to_datetime(["1970-01-01 00:00:10+00:00"])).astype("datetime64[ms, UTC]")
    column = pd.concat([days, days + pd.Timedelta(seconds=1)], ignore_index=True)
    preprocessing, _ = fit({"day": column}, train=[0, 1])
    assert clean_table(pd.DataFrame({"day": column}), preprocessing.columns)["day"].tolist() == [10, 11]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pd.array([1, None, 3, 4, 5, 6], dtype="Int64"), "number"),
        (pd.array([True, None, False, True, True, False], dtype="boolean"), "boolean"),
        (pd.Categorical(["a", "b", None, "a", "b", "b"]), "category"),
        ([Decimal("1.5"), None, Decimal(2), Decimal(3), Decimal(4), Decimal(5)], "number"),
        (pd.to_timedelta([1, 2, 3, 4, 5, None], unit="h"), "duration"),
        (["1", 2, "x", None, 3.5, "y"], "category"),
    ],
    ids=["Int64", "boolean", "categorical", "decimal", "timedelta", "mixed"],
)
def test_every_kind_of_column_becomes_finite_floats(values, kind):
    table = pd.DataFrame({"a": values})
    preprocessing, _ = fit(table)
    assert preprocessing.columns[0].kind == kind
    assert np.isfinite(preprocessing.transform(table)).all()


def test_constant_and_empty_columns_are_left_out_with_a_finding():
    preprocessing, findings = fit({"a": range(6), "same": [7] * 6, "empty": [np.nan] * 6, "none": [None] * 6})
    assert preprocessing.feature_names == ("a",)
    reasons = [("'same'", "single value"), ("'empty'", "is empty"), ("'none'", "is empty")]
    for finding, (name, reason) in zip(findings, reasons, strict=True):
        assert name in finding
        assert reason in finding


def test_few_texts_among_numbers_are_reported():
    _, findings = fit({"age": [*range(19), "n/a"]}, train=range(20))
    assert "'age' is read as numbers: 1 field ('n/a') read as missing" in findings[0]


def test_columns_named_like_features_of_others_are_kept():
    columns = {"a": ["x", "y"] * 3, "a=x": range(6), "missingindicator_b": [1.0, np.nan] * 3}
    preprocessing, _ = fit(columns)
    assert len(preprocessing.transform(pd.DataFrame(columns))[0]) == len(preprocessing.feature_names)


def test_preprocessing_survives_as_json_and_reads_new_rows_by_name():
    table = pd.DataFrame({"a": [1.0, 2, np.nan, 4, 5, 6], "b": list("xyxyxy"), "c": [True, False] * 3})
    preprocessing, _ = fit(table)
    copy = TablePreprocessing.from_json(preprocessing.as_json())
    reordered = table[["c", "b", "a"]].assign(extra=1)
    np.testing.assert_array_equal(copy.transform(reordered), preprocessing.transform(table))


def test_json_keeps_every_feature_to_the_last_bit():
    generator = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "a": np.where(generator.random(400) < 0.1, np.nan, generator.normal(3.3, 1e-3, 400)),
            "flag": [True, False, None, True] * 100,
            "name": [f"common {row % 45}" if row < 300 else f"rare {row}" for row in range(400)],
            "day": pd.date_range("2020-01-01", periods=400, freq="7h"),
        }
    )
    preprocessing, _ = fit(table, train=range(350))
    copy = TablePreprocessing.from_json(preprocessing.as_json())
    assert copy.content == preprocessing.content
    np.testing.assert_array_equal(copy.transform(table), preprocessing.transform(table))


def test_features_are_bit_equal_to_those_of_scikit_learn():
    generator = np.random.default_rng(1)
    table = pd.DataFrame(
        {
            "a": np.where(generator.random(300) < 0.1, np.nan, generator.normal(5.0, 2.0, 300)),
            "flag": [True, False, None] * 100,
            "name": [f"common {row % 48}" if row < 250 else f"rare {row}" for row in range(300)],
        }
    )
    preprocessing, _ = fit(table, train=range(300))
    cleaned = clean_table(table, preprocessing.columns)
    transformer = _make_transformer(preprocessing.columns, cleaned).fit(cleaned)
    scaler = transformer.named_transformers_["number"][-1]
    scaler.mean_, scaler.scale_ = (
        np.array([float(f"{value:.10g}") for value in values]) for values in (scaler.mean_, scaler.scale_)
    )
    new = clean_table(table.assign(name=table["name"].replace("common 1", "never seen")), preprocessing.columns)
    for rows in (cleaned, new):
        expected = transformer.transform(rows).astype(np.float32)
        np.testing.assert_array_equal(preprocessing.transform_clean(rows), expected)


def test_preprocessing_of_another_format_is_refused():
    preprocessing, _ = fit({"a": range(6)})
    with pytest.raises(ValueError, match="format 99"):
        TablePreprocessing.from_json(preprocessing.as_json().replace('"format": 1', '"format": 99'))


def test_new_rows_without_a_column_are_refused():
    preprocessing, _ = fit({"a": range(6)})
    with pytest.raises(InputError, match=r"'a' \(it holds: b\)"):
        preprocessing.transform(pd.DataFrame({"b": [1]}))


def test_columns_of_lists_are_refused():
    with pytest.raises(InputError, match=r"'a' holds several.*drop = \[\"a\"\]"):
        fit({"a": [[1], [2], [3], [4], [5], [6]]})


def test_rows_without_a_target_are_left_out_and_counted():
    table = pd.DataFrame({"a": range(6), "y": [1.0, np.nan, 3, np.inf, 5, 6]})
    raw = separated(table, target="y")
    assert raw.targets.tolist() == [1, 3, 5, 6]
    assert raw.inputs["a"].tolist() == [0, 2, 4, 5]
    (finding,) = raw.findings
    assert "2 of 6 rows (33.3%)" in finding
    assert "'y'" in finding


def test_target_split_column_and_dropped_columns_are_not_features():
    table = pd.DataFrame({"a": range(6), "id": range(6), "g": list("aabbcc"), "y": range(6)})
    raw = separated(table, target="y", drop=("id",), split=Split("group", column="g"))
    assert list(raw.inputs) == ["a"]
    assert raw.split_column.tolist() == list("aabbcc")


@pytest.mark.parametrize(
    ("target", "drop", "column", "words"),
    [
        (None, (), None, ["data.target", "(known: a, y)"]),
        ("Y", (), None, ["data.target", "'Y'; did you mean 'y'? (known: a, y)"]),
        ("y", ("b",), None, ["data.drop", "'b'", "(known: a, y)"]),
        ("y", ("y",), None, ["data.drop", "'y' is the target"]),
        ("y", ("a",), None, ["data.source", "no column"]),
        ("y", (), "z", ["data.split.column", "'z'", "(known: a, y)"]),
        ("y", (), "y", ["data.split.column", "'y' is the target"]),
    ],
)
def test_wrong_column_names_are_refused(target, drop, column, words):
    split = Split() if column is None else Split("group", column=column)
    with pytest.raises(InputError) as caught:
        separated(pd.DataFrame({"a": range(6), "y": range(6)}), target=target, drop=drop, split=split)
    assert caught.value.key == words[0]
    assert not [word for word in words[1:] if word not in caught.value.message]


def test_unknown_category_column_is_refused():
    with pytest.raises(InputError, match=r"data\.categorical: .*'zap'; did you mean 'zip'"):
        fit({"zip": range(6)}, categorical=["zap"])


def test_groups_may_be_texts_or_numbers_and_times_dates_or_numbers():
    assert split_keys(pd.Series(["b", "a", "b"]), is_time=False, choices=Choices()).tolist() == [0, 1, 0]
    assert split_keys(pd.Series(["2026-01-02", "2026-01-01"]), is_time=True, choices=Choices()).tolist() == [
        1767312000,
        1767225600,
    ]
    assert split_keys(pd.Series([3, 1]), is_time=True, choices=Choices()).tolist() == [3, 1]


def test_gaps_and_texts_in_a_split_column_are_refused():
    with pytest.raises(InputError, match="'g' is missing"):
        split_keys(pd.Series(["a", None], name="g"), is_time=False, choices=Choices())
    with pytest.raises(InputError, match=r"'day' holds 'Monday'.*2026-01-31"):
        split_keys(pd.Series(["Monday", "Tuesday"], name="day"), is_time=True, choices=Choices())


def test_a_time_split_reads_dates_of_people_and_refuses_an_unsettled_order():
    days = pd.Series(["31/12/2026", "01/01/2027"], name="day")
    assert np.diff(split_keys(days, True, Choices())).tolist() == [86400]
    unsettled = pd.Series(["01/02/2026", "03/01/2026"], name="day")
    with pytest.raises(InputError, match=r"needs an order.*dates = \{ \"day\" = \"MM/DD/YYYY\" \}"):
        split_keys(unsettled, True, Choices())
    assert np.diff(split_keys(unsettled, True, Choices(dates={"day": "MM/DD/YYYY"}))) > 0
    assert np.diff(split_keys(unsettled, True, Choices(dates={"day": "DD/MM/YYYY"}))) < 0
