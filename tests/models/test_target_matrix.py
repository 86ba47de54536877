"""Targets of several columns: classes, labels or quantities; what fits two tasks is refused, and each remedy works."""

from pathlib import Path

import numpy as np
import pytest

from nightune.models.data.dataset import Dataset
from nightune.models.data.loading import load_dataset
from nightune.models.data.settings import DataSettings
from nightune.models.data.splits import Split
from nightune.models.data.target_matrix import label_strata
from nightune.models.errors import InputError

random = np.random.default_rng(3)
X = random.normal(size=(90, 4))
CLASSES = np.arange(90) % 3
ONE_HOT = np.eye(3)[CLASSES]
TAGS = (random.random((90, 3)) < [0.5, 0.3, 0.6]).astype(int)
CUMULATIVE = np.stack([CLASSES > 0, CLASSES > 1], axis=1)
SHARES = random.dirichlet([1, 1, 1], 90)
TWO_VALUES = np.where(TAGS, 255, 0)
NUMBERS = random.normal(size=(90, 2))


def load(folder: Path, y: np.ndarray, **keys) -> Dataset:
    np.savez(folder / "arrays.npz", x=X, y=y)
    return load_dataset(DataSettings("arrays.npz", **keys), folder)


def refusal(folder: Path, y: np.ndarray, **keys) -> str:
    with pytest.raises(InputError) as caught:
        load(folder, y, **keys)
    assert caught.value.key == "data.task"
    return caught.value.message


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint8, np.int64, np.float32, np.float64])
def test_rows_with_one_1_are_classes_and_other_rows_of_0_and_1_are_labels(tmp_path, dtype):
    dataset = load(tmp_path, ONE_HOT.astype(dtype))
    plain = load(tmp_path, CLASSES, task="multiclass")
    assert (dataset.task, dataset.classes, dataset.output_size) == ("multiclass", (0, 1, 2), 3)
    assert "3 classes" in dataset.findings[0]
    np.testing.assert_array_equal(dataset.train.targets, plain.train.targets)
    labels = load(tmp_path, TAGS.astype(dtype))
    assert (labels.task, labels.classes, labels.output_size) == ("multilabel", (0, 1, 2), 3)
    assert labels.train.targets.dtype == np.int32
    assert "read as labels" in labels.findings[0]
    assert labels.class_counts == {str(place): count for place, count in enumerate(labels.train.targets.sum(axis=0))}


def test_a_class_without_rows_keeps_its_column(tmp_path):
    dataset = load(tmp_path, np.eye(4)[CLASSES])
    assert (dataset.output_size, dataset.classes) == (4, (0, 1, 2, 3))
    assert any("no training row has class 3" in finding for finding in dataset.findings)


@pytest.mark.parametrize(
    ("y", "task", "settled"),
    [
        (ONE_HOT, "multilabel", "multilabel"),
        (ONE_HOT, "regression", "regression"),
        (np.eye(2)[(CLASSES > 0).astype(int)], "binary", "binary"),
        (2 * ONE_HOT - 1, "multiclass", "multiclass"),
        (2 * TAGS - 1, "multilabel", "multilabel"),
        (TAGS, "classification", "multilabel"),
        (TAGS.astype(bool), "regression", "regression"),
        (CUMULATIVE, "multilabel", "multilabel"),
        (CUMULATIVE, "regression", "regression"),
        (CUMULATIVE[:, ::-1], "multilabel", "multilabel"),
        (CUMULATIVE.sum(axis=1), "classification", "multiclass"),
        (SHARES, "regression", "regression"),
        (SHARES.argmax(axis=1), "multiclass", "multiclass"),
        (TWO_VALUES, "regression", "regression"),
        (TWO_VALUES == 255, None, "multilabel"),
        (NUMBERS, "regression", "regression"),
    ],
)
def test_the_study_settles_the_task(tmp_path, y, task, settled):
    assert load(tmp_path, y, task=task).task == settled


@pytest.mark.parametrize(
    ("y", "remedies"),
    [
        (CUMULATIVE, ['"multilabel"', '"regression"', "y.sum(axis=1)", 'task = "classification"']),
        (CUMULATIVE[:, ::-1].astype(float), ['"multilabel"']),
        (2 * TAGS - 1, ['"multilabel"', '"regression"']),
        (2 * ONE_HOT - 1, ['"multilabel"', '"multiclass"', '"regression"']),
        (SHARES, ['"regression"', "y.argmax(axis=1)"]),
        (SHARES.round(3).astype(np.float32), ['"regression"']),
        (TWO_VALUES, ['"regression"', "y == 255"]),
        (0.9 * ONE_HOT + 0.1 / 3, ['"regression"', "booleans"]),
    ],
)
def test_targets_that_fit_two_tasks_are_refused_with_the_choices(tmp_path, y, remedies):
    message = refusal(tmp_path, y)
    for remedy in remedies:
        assert remedy in message


@pytest.mark.parametrize(
    ("y", "task", "words"),
    [
        (TAGS, "multiclass", ["one class per row", '"multilabel"']),
        (TAGS, "binary", ['"multilabel"']),
        (NUMBERS, "multilabel", ["columns of numbers", '"regression"']),
        (NUMBERS, "classification", ["columns of numbers", '"regression"']),
        (SHARES, "multiclass", ["y.argmax(axis=1)"]),
        (CUMULATIVE, "classification", ['"multilabel"']),
        (ONE_HOT, "binary", ['"multiclass"']),
        (CLASSES % 2, "multilabel", ['"binary"']),
    ],
)
def test_a_task_that_the_targets_do_not_have_is_refused(tmp_path, y, task, words):
    message = refusal(tmp_path, y, task=task)
    for word in words:
        assert word in message


def test_one_column_of_two_numbers_stays_two_classes_and_is_reported(tmp_path):
    for y, classes in (([0.0, 1.0], (0, 1)), ([-1, 1], (-1, 1))):
        dataset = load(tmp_path, np.array(y * 45))
        assert (dataset.task, dataset.classes) == ("binary", classes)
        assert 'task = "regression"' in dataset.findings[0]
    assert not any("read as" in finding for finding in load(tmp_path, np.array([0, 1] * 45)).findings)


def test_a_constant_column_among_several_quantities_is_reported_and_can_be_scaled(tmp_path):
    y = np.column_stack([NUMBERS * 5, np.full(90, 7.0)])
    plain = load(tmp_path, y)
    assert any("column 2 is the same" in finding for finding in plain.findings)
    scaled = load(tmp_path, y, scale_target=True)
    assert scaled.train.targets[:, 2].tolist() == [0.0] * len(scaled.train)
    assert scaled.description["target_scale"]["deviation"][2] == 1.0
    with pytest.raises(InputError, match="nothing to learn"):
        load(tmp_path, y[:, [2, 2]])


def test_quantities_that_look_like_classes_or_labels_are_reported(tmp_path):
    whole = random.integers(0, 5, (90, 2))
    assert any(
        "whole numbers" in finding and 'task = "classification"' in finding
        for finding in load(tmp_path, whole).findings
    )
    assert load(tmp_path, whole, task="classification").output_size == (2, 5)  # a class at each position
    mixed = load(tmp_path, np.column_stack([NUMBERS, TAGS]))
    assert mixed.task == "regression"
    assert any("columns 2, 3, 4 are of 0 and 1 only" in finding for finding in mixed.findings)
    assert load(tmp_path, NUMBERS).findings == ()


def test_labels_are_spread_evenly_over_a_stratified_split(tmp_path):
    rare = np.zeros((90, 1), dtype=int)
    rare[[3, 40, 41, 66, 80]] = 1
    dataset = load(tmp_path, np.column_stack([TAGS, rare]))
    assert dataset.description["split"]["kind"] == "stratified"
    total = np.array([*TAGS.sum(axis=0), 5])
    np.testing.assert_allclose(dataset.train.targets.sum(axis=0), 0.6 * total, atol=2)
    assert dataset.validation.targets[:, 3].sum() >= 1
    assert load(tmp_path, TAGS, split=Split("random")).description["split"]["kind"] == "random"


def test_rows_of_a_rare_combination_are_in_the_stratum_of_their_rarest_label():
    labels = np.array([[1, 0, 0]] * 5 + [[1, 1, 0], [1, 1, 1], [0, 1, 1], [0, 0, 0]])
    strata = label_strata(labels)
    assert len(set(strata[:5])) == 1
    assert strata[6] == strata[7]
    assert len({strata[0], strata[5], strata[6], strata[8]}) == 4


def test_a_label_that_no_or_every_training_row_has_is_reported(tmp_path):
    y = np.column_stack([TAGS, np.zeros(90), np.ones(90)])
    findings = load(tmp_path, y).findings
    assert any("no training row has label 3" in finding for finding in findings)
    assert any("every training row has label 4" in finding for finding in findings)
    with pytest.raises(InputError, match="same labels"):
        load(tmp_path, np.tile([1, 0, 1], (90, 1)))


def test_columns_of_a_frame_of_targets_name_classes_labels_and_outputs(tmp_path):
    code = (
        "import numpy as np, pandas as pd\n"
        "def read(kind):\n"
        "    held = np.load('arrays.npz')\n"
        "    return held['x'], pd.DataFrame(held['y'], columns=list('abc'))\n"
        "def data():\n    return read(0)\n"
    )
    (tmp_path / "d.py").write_text(code.replace("'arrays.npz'", repr(str(tmp_path / "arrays.npz"))))
    for y, classes, outputs in (
        (ONE_HOT, ("a", "b", "c"), None),
        (TAGS, ("a", "b", "c"), ["a", "b", "c"]),
        (random.normal(size=(90, 3)), None, ["a", "b", "c"]),
    ):
        np.savez(tmp_path / "arrays.npz", x=X, y=y)
        dataset = load_dataset(DataSettings("d.py:data"), tmp_path)
        assert dataset.classes == classes
        assert dataset.description.get("outputs") == outputs
