"""Columns that the study encodes: hashed labels, means of the target without a row's own, and parts of dates."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.preprocessing import TargetEncoder

from nightune.models.data.dataset import Dataset, Purpose
from nightune.models.data.loading import load_dataset
from nightune.models.data.rows_to_predict import read_rows
from nightune.models.data.settings import DataSettings
from nightune.models.data.splits import Split
from nightune.models.data.storage import open_dataset, save_dataset
from nightune.models.errors import InputError
from nightune.models.serving.preprocessing import TablePreprocessing
from nightune.tuning.study.data_section import DataSection
from nightune.tuning.study.section import read_section

COUNT = 300
RANDOM = np.random.default_rng(4)
CITY = RANDOM.integers(0, 90, COUNT)
TABLE = pd.DataFrame(
    {
        "city": [f"0{city}" if city % 9 else None for city in CITY],
        "since": pd.date_range("2021-12-30 22:30", periods=COUNT, freq="61h").strftime("%d/%m/%Y %H:%M"),
        "row": np.arange(COUNT) / 4,
        "y": CITY * 0.5 + RANDOM.normal(size=COUNT),
        "label": np.where(CITY % 3 == 0, "a", np.where(CITY % 3 == 1, "b", "c")),
    }
)
BY_ROW = Split("time", column="row")  # in the order of the rows


def load(folder: Path, table: pd.DataFrame = TABLE, target: Any = "y", **keys: Any) -> Dataset:
    table.to_csv(folder / "t.csv", index=False)
    drop = tuple(name for name in ("label", "y") if name != target and name not in target)
    return load_dataset(DataSettings("t.csv", target=target, **{"drop": drop, "split": BY_ROW, **keys}), folder)


def fitted(dataset: Dataset) -> TablePreprocessing:
    assert dataset.preprocessing is not None
    return dataset.preprocessing


def features(dataset: Dataset, name: str, inputs: Any = None) -> np.ndarray:
    """Return the features whose names begin with a text."""
    places = [place for place, each in enumerate(fitted(dataset).feature_names) if each.startswith(name)]
    values: np.ndarray = (dataset.train.inputs if inputs is None else inputs)[:, places]
    return values


def test_hashed_labels_have_a_1_in_one_of_the_features(tmp_path: Path) -> None:
    dataset = load(tmp_path, hashed={"city": 8})
    values = features(dataset, "city hash")
    assert values.shape[1] == 8
    np.testing.assert_array_equal(values.sum(axis=1), 1.0)
    assert (values.sum(axis=0) > 0).all()
    rows = TABLE.head(5).drop(columns=["y", "label"])
    unseen = fitted(dataset).transform(rows.assign(city=["elsewhere"] * 5))
    np.testing.assert_array_equal(features(dataset, "city hash", unseen).sum(axis=1), 1.0)


@pytest.mark.parametrize(("target", "kind"), [("y", "continuous"), ("label", "multiclass")])
def test_target_means_are_those_of_scikit_learn_cross_fitted_in_the_training_rows(
    target: str, kind: str, tmp_path: Path
) -> None:
    dataset = load(tmp_path, target=target, target_encoded=("city",))
    labels = TABLE["city"].fillna("missing").to_numpy().reshape(-1, 1)
    count, known = len(dataset.train), dataset.train.targets
    folds = (KFold if kind == "continuous" else StratifiedKFold)(5, shuffle=True, random_state=0)
    encoder = TargetEncoder(target_type=kind, cv=folds)
    crossed = encoder.fit_transform(labels[:count], known)
    later = encoder.transform(labels[count : count + len(dataset.validation)])
    mean, scale = crossed.mean(axis=0), crossed.std(axis=0)
    name = "city target mean" if kind == "continuous" else "city mean of class"
    np.testing.assert_allclose(features(dataset, name), (crossed - mean) / scale, rtol=1e-4, atol=1e-5)
    held = features(dataset, name, dataset.validation.inputs)
    np.testing.assert_allclose(held, (later - mean) / scale, rtol=1e-4, atol=1e-5)


def test_a_training_row_does_not_know_its_own_target(tmp_path: Path) -> None:
    noise = TABLE.assign(city=[f"city {row}" for row in range(COUNT)], y=np.random.default_rng(1).normal(size=COUNT))
    dataset = load(tmp_path, noise, target_encoded=("city",))
    means = features(dataset, "city target mean")[:, 0]
    assert abs(np.corrcoef(means, dataset.train.targets)[0, 1]) < 0.4


def test_parts_of_dates_are_the_year_and_points_of_circles(tmp_path: Path) -> None:
    dataset = load(tmp_path, date_parts={"since": ()}, dates={"since": "DD/MM/YYYY"})
    moments = pd.to_datetime(TABLE["since"], format="%d/%m/%Y %H:%M").head(len(dataset.train))
    turns = {
        "month": (moments.dt.month - 1) / 12,
        "day": (moments.dt.day - 1) / 31,
        "weekday": moments.dt.day_of_week / 7,
        "hour": (moments.dt.hour + moments.dt.minute / 60) / 24,
    }
    for part, turn in turns.items():
        circle = np.column_stack([np.sin(2 * np.pi * turn), np.cos(2 * np.pi * turn)])
        np.testing.assert_allclose(features(dataset, f"since {part} "), circle, atol=1e-6)
    years = moments.dt.year.to_numpy()
    np.testing.assert_allclose(features(dataset, "since year")[:, 0], (years - years.mean()) / years.std(), atol=1e-5)


def test_only_parts_that_vary_or_are_named_become_features(tmp_path: Path) -> None:
    days = TABLE.assign(since=pd.date_range("2022-01-01", periods=COUNT, freq="D").strftime("%Y-%m-%d"))
    names = fitted(load(tmp_path, days, date_parts={"since": ()})).feature_names
    assert {"since", "since month sin", "since weekday cos"} < set(names)
    assert not any("hour" in name or "year" in name for name in names)
    named = fitted(load(tmp_path, days, date_parts={"since": ("weekday",)})).feature_names
    assert [name for name in named if name.startswith("since ")] == ["since weekday sin", "since weekday cos"]


def test_rows_read_anew_are_what_training_read(tmp_path: Path) -> None:
    keys = {"hashed": {"other": 4}, "target_encoded": ("city",), "date_parts": {"since": ()}, "codes": {"id": 0}}
    table = TABLE.assign(other=TABLE["city"], id=TABLE["city"])
    dataset = load(tmp_path, table, **keys)
    opened = open_dataset(save_dataset(dataset, tmp_path / "data"))
    restored = TablePreprocessing.from_json(fitted(opened).as_json())
    assert restored.content == fitted(dataset).content
    rows = read_rows(tmp_path / "t.csv", dataset.description).rows
    start = len(dataset.train)
    for examples in (dataset.validation, dataset.test.open(Purpose.GATE, record=lambda: None)):
        again = restored.transform(rows.iloc[start : start + len(examples)])
        for name, array in examples.inputs.items():
            np.testing.assert_array_equal(again[name], array)
        start += len(examples)
    with pytest.raises(InputError, match=r"'other'.*dtype"):
        restored.transform(rows.fillna("1").astype({"other": int, "city": str}))


def test_each_fold_has_encodings_of_its_own_training_rows(tmp_path: Path) -> None:
    keys = {"hashed": {"other": 4}, "target_encoded": ("city",), "date_parts": {"since": ()}}
    table = TABLE.assign(other=TABLE["city"])
    dataset = load(tmp_path, table, target="label", split=Split("stratified", folds=3), **keys)
    name = "city mean of class 0"
    place = fitted(dataset).feature_names.index(name)
    for fold in dataset.folds:
        assert fold.train.inputs.shape[1] == len(fitted(dataset).feature_names)
        assert np.isfinite(fold.train.inputs).all()
        np.testing.assert_allclose(fold.train.inputs[:, place].mean(), 0.0, atol=1e-5)  # by its own mean


def test_spellings_are_one_label_unless_they_are_exact(tmp_path: Path) -> None:
    table = TABLE.assign(city=["Rome", "ROME ", "Oslo", "Bonn"] * (COUNT // 4))
    merged = load(tmp_path, table, target_encoded=("city",))
    assert any("categorical" in finding for finding in merged.findings)
    exact = load(tmp_path, table, target_encoded=("city",), categorical=("city",))
    counts = [len(fitted(each).encodings.target_encoded["city"].known) for each in (merged, exact)]
    assert counts == [3, 4]


@pytest.mark.parametrize(
    ("keys", "key", "words"),
    [
        ({"target_encoded": ("city",), "target": ("y", "row"), "split": Split("random")}, "target_encoded", "hashed"),
        ({"date_parts": {"sinc": ()}}, "date_parts", "did you mean 'since'"),
        ({"date_parts": {"city": ()}}, "date_parts", "not as dates"),
        ({"hashed": {"city": 4}, "target_encoded": ("city",)}, "hashed", "also in data.target_encoded"),
        ({"codes": {"city": 0}, "hashed": {"city": 4}}, "codes", "also in data.hashed"),
    ],
)
def test_columns_that_cannot_be_encoded_so_are_refused(
    keys: dict[str, Any], key: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=words) as error:
        load(tmp_path, **keys)
    assert error.value.key == f"data.{key}"


@pytest.mark.parametrize(
    ("key", "given", "read"),
    [
        ("hashed", ["a"], {"a": 32}),
        ("hashed", {"a": 8}, {"a": 8}),
        ("date_parts", ["a"], {"a": ()}),
        ("date_parts", {"a": ["hour", "year"]}, {"a": ("year", "hour")}),
        ("target_encoded", ["a"], ("a",)),
        ("hashed", {"a": 1}, "from 2"),
        ("date_parts", {"a": []}, "list of parts"),
        ("date_parts", {"a": ["weekdays"]}, "did you mean 'weekday'"),
        ("date_parts", {"a": "hour"}, "list of parts"),
        ("target_encoded", "a", "list of texts"),
    ],
)
def test_keys_are_lists_or_tables_of_columns(key: str, given: Any, read: Any) -> None:
    section, problems = read_section(DataSection, {"source": "t.csv", key: given}, "data")
    if isinstance(read, str):
        assert [problem.key for problem in problems] == [f"data.{key}"]
        assert read in problems[0].message
    else:
        assert getattr(section, key) == read
