"""Folds of the rows outside the test split: scikit-learn's, each prepared by its own training rows alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold, TimeSeriesSplit

from nightune.models.data.dataset import Dataset, Purpose
from nightune.models.data.loading import load_dataset
from nightune.models.data.settings import DataSettings
from nightune.models.data.splits import Split
from nightune.models.data.storage import open_dataset, save_dataset
from nightune.models.errors import InputError

ROWS = 100
GENERATOR = np.random.default_rng(0)
X = np.column_stack([np.arange(ROWS), GENERATOR.normal(size=ROWS)])
CLASSES = GENERATOR.permutation(np.repeat([0, 1, 2], (50, 35, 15)))
QUANTITIES = GENERATOR.normal(size=ROWS)
GROUPS = GENERATOR.integers(0, 20, ROWS)
TIMES = GENERATOR.permutation(ROWS) // 2  # two rows of each time


def load(folder: Path, split: Split, y: np.ndarray = QUANTITIES, **keys: np.ndarray) -> Dataset:
    """Load arrays whose first input is the number of the row."""
    np.savez(folder / "rows.npz", x=X, y=y, **keys)
    return load_dataset(DataSettings("rows.npz", split=split), folder)


def rows_of(examples: Any) -> list[int]:
    return sorted(examples.inputs[:, 0].astype(int).tolist())


def sealed(dataset: Dataset) -> list[int]:
    return rows_of(dataset.test.open(Purpose.GATE, lambda: None))


@pytest.mark.parametrize("kind", ["random", "stratified"])
def test_folds_are_those_of_scikit_learn_over_the_rows_that_are_not_sealed(tmp_path: Path, kind: str) -> None:
    dataset = load(tmp_path, Split(kind, folds=4, seed=7), CLASSES)
    assert sealed(dataset) == sealed(load(tmp_path, Split(kind, seed=7), CLASSES))
    pool = np.array([row for row in range(ROWS) if row not in sealed(dataset)])
    assert rows_of(dataset.train) == pool.tolist()
    splitter = (KFold if kind == "random" else StratifiedKFold)(4, shuffle=True, random_state=7)
    for fold, (train, validation) in zip(dataset.folds, splitter.split(pool, CLASSES[pool]), strict=True):
        assert rows_of(fold.train) == pool[train].tolist()
        assert rows_of(fold.validation) == pool[validation].tolist()
        np.testing.assert_array_equal(fold.train.targets, CLASSES[fold.train.inputs[:, 0].astype(int)])


@pytest.mark.parametrize("y", [QUANTITIES, CLASSES], ids=["quantities", "classes"])
def test_groups_never_cross_folds_or_the_seal(tmp_path: Path, y: np.ndarray) -> None:
    dataset = load(tmp_path, Split("group", folds=3), y, group=GROUPS)
    test = set(GROUPS[sealed(dataset)])
    held: list[int] = []
    for fold in dataset.folds:
        train, validation = set(GROUPS[rows_of(fold.train)]), set(GROUPS[rows_of(fold.validation)])
        assert train.isdisjoint(validation)
        assert test.isdisjoint(train | validation)
        held += rows_of(fold.validation)
    assert sorted(held) == rows_of(dataset.train)
    if y is QUANTITIES:
        pool = np.array(rows_of(dataset.train))
        numbers = pd.factorize(GROUPS)[0][pool]  # in the order of the rows, which decides between groups of one size
        ours = [rows_of(fold.validation) for fold in dataset.folds]
        assert ours == [pool[held].tolist() for _, held in GroupKFold(3).split(pool, groups=numbers)]


@pytest.mark.parametrize("gap", [0, 3])
def test_folds_of_times_are_ordered_and_keep_the_gap(tmp_path: Path, gap: int) -> None:
    dataset = load(tmp_path, Split("time", folds=4, gap=gap), time=TIMES)
    last, first_sealed = TIMES[rows_of(dataset.train)].max(), TIMES[sealed(dataset)].min()
    assert first_sealed - last == gap + 1
    cuts = TimeSeriesSplit(4, gap=gap).split(np.arange(last + 1))
    for fold, (train, validation) in zip(dataset.folds, cuts, strict=True):
        older, newer = (np.unique(TIMES[rows_of(each)]) for each in (fold.train, fold.validation))
        assert older.tolist() == train.tolist()
        assert newer.tolist() == validation.tolist()


def test_a_gap_of_days_is_kept_in_each_fold(tmp_path: Path) -> None:
    days = np.datetime64("2026-01-01") + TIMES.astype("timedelta64[D]")
    dataset = load(tmp_path, Split("time", folds=4, gap="5 days"), time=days)
    for fold in dataset.folds:
        assert TIMES[rows_of(fold.validation)].min() - TIMES[rows_of(fold.train)].max() == 5
    assert TIMES[sealed(dataset)].min() - TIMES[rows_of(dataset.train)].max() == 5


def test_a_fold_is_prepared_by_its_training_rows_alone(tmp_path: Path) -> None:
    city = np.array([f"c{row % 3}" for row in range(ROWS)])
    table = pd.DataFrame({"row": X[:, 0], "size": X[:, 1], "city": city, "y": QUANTITIES * 7 + 3})
    settings = DataSettings("t.csv", target="y", scale_target=True, split=Split(folds=3))

    def folds_of(table: pd.DataFrame) -> Dataset:
        table.to_csv(tmp_path / "t.csv", index=False)
        return load_dataset(settings, tmp_path)

    plain = folds_of(table)
    means = plain.preprocessing.numbers["row"]
    pool = np.rint(plain.train.inputs[:, 0] * means.scale + means.mean).astype(int)
    train, validation = next(KFold(3, shuffle=True, random_state=0).split(pool))
    held = table.loc[np.sort(pool)[train], "size"]
    expected = (np.sort(table.loc[np.sort(pool)[validation], "size"]) - held.mean()) / held.std(ddof=0)
    np.testing.assert_allclose(np.sort(plain.folds[0].validation.inputs[:, 1]), expected, atol=1e-5)
    assert abs(plain.folds[0].train.targets.mean()) < 1e-6
    # What only validation rows hold is unknown to the fold, as it is when the model predicts.
    odd = np.sort(pool)[validation]
    table.loc[odd[0], "city"], table.loc[odd[1], "size"] = "elsewhere", np.nan
    changed = folds_of(table)
    assert changed.input_shape == (7,)
    names = list(changed.preprocessing.feature_names)
    only_there = [names.index("city=elsewhere"), names.index("size is missing")]
    assert not changed.folds[0].train.inputs[:, only_there].any()
    assert not changed.folds[0].validation.inputs[:, only_there].any()
    assert changed.folds[1].train.inputs[:, only_there].sum() == 2
    seen = [place for place in range(7) if place not in only_there]
    np.testing.assert_array_equal(changed.folds[0].train.inputs[:, seen], plain.folds[0].train.inputs)


def test_rare_categories_of_the_whole_share_a_column_in_each_fold(tmp_path: Path) -> None:
    city = np.array([f"c{row % 60}" for row in range(6 * ROWS)])  # of 60 categories, 49 have a column of their own
    table = pd.DataFrame({"city": city, "y": np.arange(6 * ROWS) % 7 + 0.5})
    table.to_csv(tmp_path / "t.csv", index=False)
    dataset = load_dataset(DataSettings("t.csv", target="y", split=Split(folds=3)), tmp_path)
    for fold in dataset.folds:
        np.testing.assert_array_equal(fold.train.inputs.sum(axis=1), 1)


def test_prepared_folds_are_saved_opened_and_part_of_the_version(tmp_path: Path) -> None:
    dataset = load(tmp_path, Split(folds=3), CLASSES)
    copy = open_dataset(save_dataset(dataset, tmp_path / "data"))
    assert copy.sizes == dataset.sizes == {"train": 80, "test": 20}
    for ours, theirs in zip(copy.folds, dataset.folds, strict=True):
        for name in ("train", "validation"):
            np.testing.assert_array_equal(getattr(ours, name).inputs, getattr(theirs, name).inputs)
            np.testing.assert_array_equal(getattr(ours, name).targets, getattr(theirs, name).targets)
    versions = {load(tmp_path, split, CLASSES).version for split in (Split(), Split(folds=3), Split(folds=4))}
    assert len(versions) == 3


@pytest.mark.parametrize("by_rows", [False, True])
def test_weights_follow_their_rows_into_the_folds(tmp_path: Path, by_rows: bool) -> None:
    np.savez(tmp_path / "rows.npz", x=X, y=QUANTITIES, weight=np.arange(ROWS) / 8)
    settings = DataSettings("rows.npz", split=Split(folds=3), metrics_by_rows=by_rows)
    dataset = open_dataset(save_dataset(load_dataset(settings, tmp_path), tmp_path / "data"))
    for fold in (dataset, *dataset.folds):
        np.testing.assert_array_equal(fold.train.weights, fold.train.inputs[:, 0] / 8)
        if by_rows:
            assert fold.validation.weights is None
        else:
            np.testing.assert_array_equal(fold.validation.weights, fold.validation.inputs[:, 0] / 8)


def test_a_fold_whose_rows_weigh_nothing_is_refused(tmp_path: Path) -> None:
    weight = np.where(np.arange(ROWS) < 45, 0.0, 1.0)  # all of the first fold's older rows
    split = Split("time", folds=4, column="time")
    np.savez(tmp_path / "rows.npz", x=X, y=QUANTITIES, weight=weight, time=np.arange(ROWS))
    with pytest.raises(InputError, match="weight 0"):
        load_dataset(DataSettings("rows.npz", split=split), tmp_path)


RARE = np.where(np.arange(ROWS) < 4, 2, np.arange(ROWS) % 2)  # about three rows of class 2 outside the test split
LATE = np.repeat([0, 1, 0, 1, 2], ROWS // 5)  # class 2 comes last
ALONE = np.where(GROUPS == 0, 2, np.arange(ROWS) % 2)  # class 2 is one group


@pytest.mark.parametrize(
    ("split", "y", "keys", "key", "words"),
    [
        (Split("stratified", folds=4), RARE, {}, "folds", ("2 has 3", "use 3 folds")),
        (Split("stratified", folds=50), CLASSES, {}, "folds", ("rows of each class", "use 12 folds")),
        (Split("random", folds=81), QUANTITIES, {}, "folds", ("80 rows", "fewer folds")),
        (Split("group", folds=18), QUANTITIES, {"group": GROUPS}, "folds", ("groups", "folds or fewer")),
        (Split("group", folds=3), ALONE, {"group": GROUPS}, "folds", ("class 2", "another kind")),
        (Split("time", folds=40), QUANTITIES, {"time": TIMES}, "folds", ("different times", "fewer folds")),
        (Split("time", folds=3, gap=12), QUANTITIES, {"time": TIMES}, "folds", ("gap 12", "smaller gap")),
        (Split("time", folds=4), LATE, {"time": np.arange(ROWS)}, "folds", ("class 1", "fewer folds")),
        (Split(folds=4), CLASSES, {"part": np.repeat(["train", "test"], 50)}, "folds", ("fixed", "remove folds")),
    ],
)
def test_folds_without_enough_rows_are_refused(
    tmp_path: Path, split: Split, y: np.ndarray, keys: dict[str, np.ndarray], key: str, words: tuple[str, ...]
) -> None:
    with pytest.raises(InputError) as caught:
        load(tmp_path, split, y, **keys)
    assert caught.value.key == f"data.split.{key}"
    for word in words:
        assert word in caught.value.message


def test_the_remedy_for_rare_classes_works(tmp_path: Path) -> None:
    assert len(load(tmp_path, Split("stratified", folds=3), RARE).folds) == 3


def test_a_label_that_a_fold_does_not_train_on_is_a_finding(tmp_path: Path) -> None:
    rare = rows_of(load(tmp_path, Split("random")).train)[:1]
    labels = np.column_stack([CLASSES > 0, CLASSES > 1, np.isin(np.arange(ROWS), rare)]).astype(int)
    dataset = load(tmp_path, Split("random", folds=4), labels)
    assert dataset.task == "multilabel"
    assert any("trains on no row with label" in finding for finding in dataset.findings)


@pytest.mark.parametrize("given", [{"folds": 1}, {"folds": -2}, {"folds": 3, "ranking": 0.1}])
def test_settings_that_contradict_folds_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Split(**given)
