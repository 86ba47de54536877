"""On which rows the gate compares: groups and weights, few rows of a class, one class alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nightune.models.data.dataset import Purpose
from nightune.models.data.loading import load_dataset
from nightune.models.data.settings import DataSettings
from nightune.models.data.splits import Split
from nightune.models.data.storage import GROUPS, open_dataset, save_dataset
from nightune.tasks.gate_question import Question
from nightune.tuning.analysis.metric_gain import compare_sides
from tests.tasks.gate_questions import BY_PATIENT, ROWS, TABLE, asked, loaded, weighted, with_labels

random = np.random.default_rng(1)


@pytest.mark.parametrize("objective", ["val_auc", "val_f1_macro", "val_balanced_accuracy"])
def test_one_class_in_the_test_rows_fails_a_guard_with_the_reason(tmp_path: Path, objective: str) -> None:
    table = with_labels(["yes" if row % 3 else "no" for row in range(150)] + ["no"] * 50)
    dataset = loaded(tmp_path, table, split=Split(kind="time", column="patient"))
    (guard,) = asked(dataset, objective).undefined()
    assert (guard.name, guard.passed, guard.is_vital) == ("metric", False, False)
    assert "all 40 test rows are of class 'no'" in guard.said


def test_one_row_of_a_class_has_no_variance_of_the_area_under_the_curve(tmp_path: Path) -> None:
    table = with_labels(["yes" if row % 3 else "no" for row in range(150)] + ["no"] * 49 + ["yes"])
    dataset = loaded(tmp_path, table, split=Split(kind="time", column="patient"))
    (guard,) = asked(dataset, "val_auc").undefined()
    assert "only 1 of 40 test rows is of class 'yes'" in guard.said
    assert asked(dataset, "val_f1_macro").undefined() == []


def test_constant_targets_have_no_explained_variance(tmp_path: Path) -> None:
    table = TABLE.assign(price=np.where(np.arange(ROWS) < 150, TABLE["price"], 300.0))
    dataset = loaded(tmp_path, table, "price", split=Split(kind="time", column="patient"))
    (guard,) = asked(dataset, "val_r2").undefined()
    assert "same value in all test rows" in guard.said
    assert asked(dataset, "val_rmse").undefined() == []


@pytest.mark.parametrize("objective", ["val_accuracy", "val_auc"])
def test_rows_of_a_split_by_group_are_resampled_in_groups(tmp_path: Path, objective: str) -> None:
    dataset = open_dataset(save_dataset(loaded(tmp_path, split=BY_PATIENT), tmp_path / "data"))
    question = asked(dataset, objective)
    assert question.rows.unit_count == 8
    assert (np.bincount(question.rows.groups)[np.unique(question.rows.groups)] == 5).all()
    assert question.notes() == []
    baseline = question.baseline
    gain = compare_sides(baseline, baseline, question.rows, 0.95, seed=0)
    assert (gain.rows, gain.groups, gain.gain) == (40, 8, 0.0)


def test_test_rows_of_one_group_fail_a_guard(tmp_path: Path) -> None:
    table = TABLE.assign(patient=np.arange(ROWS) // 67)
    (guard,) = asked(loaded(tmp_path, table, split=BY_PATIENT), "val_accuracy").undefined()
    assert "in 1 group" in guard.said


def test_data_of_an_earlier_version_gets_its_groups_when_it_is_prepared_again(tmp_path: Path) -> None:
    dataset = loaded(tmp_path, split=BY_PATIENT)
    folder = save_dataset(dataset, tmp_path / "data")
    kept = (folder / "sealed" / GROUPS).read_bytes()
    (folder / "sealed" / GROUPS).unlink()
    (note,) = asked(open_dataset(folder), "val_accuracy").notes()
    assert "nightune tune" in note
    assert save_dataset(dataset, tmp_path / "data") == folder
    assert (folder / "sealed" / GROUPS).read_bytes() == kept
    assert {file.name for file in (folder / "sealed").iterdir()} >= {GROUPS}


def test_the_groups_do_not_change_the_version_of_the_data(tmp_path: Path) -> None:
    """Earlier sweeps find their data."""
    dataset = loaded(tmp_path, split=BY_PATIENT)
    assert "groups" not in dataset.description
    assert not (save_dataset(loaded(tmp_path), tmp_path / "plain") / "sealed" / GROUPS).exists()


@pytest.mark.parametrize(
    ("objective", "target"),
    [("val_loss", "label"), ("val_accuracy", "label"), ("val_f1_macro", "label"), ("val_rmse", "price")],
)
def test_rows_are_compared_by_their_weights(tmp_path: Path, objective: str, target: str) -> None:
    dataset = weighted(tmp_path, target)
    question = asked(dataset, objective)
    assert question.loss.endswith("(rows by their weights)")
    weights, known = question.rows.weights, dataset.train
    assert weights is not None
    baseline = question.baseline
    gain = compare_sides(baseline, baseline, question.rows, 0.95, seed=0, opponent_is_fixed=True)
    assert (gain.is_weighted, gain.gain) == (True, 0.0)
    assert known.weights is not None
    if target == "price":
        guess = np.average(known.targets.astype(float), weights=known.weights)
        errors = (question.truth.values[:, 0] - guess) ** 2
        expected = np.sqrt(np.average(errors, weights=weights))
    else:
        is_yes = question.truth.values == "yes"
        share = np.average(known.targets, weights=known.weights)
        losses = {
            "val_loss": -np.log(np.where(is_yes, share, 1 - share)),
            "val_accuracy": is_yes.astype(float),
            "val_f1_macro": is_yes.astype(float),
        }[objective]
        expected = np.average(losses, weights=weights)
        if objective == "val_f1_macro":
            expected = 1 - (1 - expected) / (2 - expected)  # as in `baseline_by_hand`
    assert gain.challenger_loss == pytest.approx(expected, rel=1e-6)


def test_metrics_by_rows_are_compared_without_weights(tmp_path: Path) -> None:
    question = asked(weighted(tmp_path, "label", metrics_by_rows=True), "val_loss")
    assert question.rows.weights is None
    share = question.dataset.train.targets.mean()
    is_yes = question.truth.values == "yes"
    expected = -np.log(np.where(is_yes, share, 1 - share))
    np.testing.assert_allclose(question.baseline.losses[0], expected, rtol=1e-6)


def test_a_single_row_with_a_weight_has_no_variance(tmp_path: Path) -> None:
    dataset = weighted(tmp_path, "label")
    test = dataset.test.open(Purpose.GATE, lambda: None)
    alone = np.zeros(len(test), np.float32)
    alone[0] = 1.0
    from nightune.models.networks.heads import Head

    question = Question.of(dataset, replace(test, weights=alone), "val_accuracy", Head("classes", True))
    (guard,) = question.undefined()
    assert "no value" in guard.said


def test_few_rows_of_a_rare_class_are_said(tmp_path: Path) -> None:
    rare = with_labels(["rare" if row < 20 else "usual" for row in range(ROWS)])
    (note,) = asked(loaded(tmp_path, rare), "val_balanced_accuracy").notes()
    assert "rare classes" in note
    assert "of 40 test rows 4 have the class 'rare'" in note
    assert asked(loaded(tmp_path), "val_balanced_accuracy").notes() == []
    assert asked(loaded(tmp_path, target="price"), "val_rmse").notes() == []


def test_few_rows_of_a_rare_label_are_said(tmp_path: Path) -> None:
    tags = TABLE.assign(often=TABLE["size"] > 50, seldom=np.arange(ROWS) % 12 == 0).drop(columns=["label", "price"])
    tags.to_csv(tmp_path / "tags.csv", index=False)
    dataset = load_dataset(DataSettings("tags.csv", target=("often", "seldom")), tmp_path)
    (note,) = asked(dataset, "val_f1_macro").notes()
    assert "have the label 'seldom'" in note
    assert "often" not in note


def test_positions_of_masks_cost_time_and_are_no_rare_labels(tmp_path: Path) -> None:
    rare = (random.random((ROWS, 3, 3)) < 0.05).astype(int)
    np.savez(tmp_path / "masks.npz", x=random.random((ROWS, 3, 3)), y=rare)
    masks = asked(load_dataset(DataSettings("masks.npz"), tmp_path), "val_pr_auc")
    assert (masks.notes(), masks.cost.per_row) == ([], 2 * 9)
    np.savez(tmp_path / "labels.npz", x=random.random((ROWS, 3)), y=rare.reshape(ROWS, 9))
    labels = asked(load_dataset(DataSettings("labels.npz", task="multilabel"), tmp_path), "val_pr_auc")
    assert "rare" in labels.notes()[0]
    assert labels.cost.per_row == 1
