"""What the gate compares: the study's own metric, on the rows and groups of the test split."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nightune.models.data.dataset import Dataset, Purpose
from nightune.models.data.loading import load_dataset
from nightune.models.data.settings import DataSettings
from nightune.models.data.splits import Split
from nightune.models.data.storage import GROUPS, open_dataset, save_dataset
from nightune.models.errors import InputError
from nightune.models.networks.named_metrics import Named
from nightune.models.networks.own_metrics import OwnMetric
from nightune.models.serving.predictor import Predictor, in_units
from nightune.tasks.gate_question import Question
from nightune.tuning.analysis.metric_gain import compare_sides
from nightune.vocabulary import Direction

random = np.random.default_rng(0)
ROWS = 200
TABLE = pd.DataFrame(
    {
        "size": random.normal(50, 10, ROWS),
        "patient": np.arange(ROWS) // 5,
        "label": np.where(random.random(ROWS) < 0.3, "yes", "no"),
        "price": random.normal(300, 50, ROWS),
    }
)
BY_PATIENT = Split(kind="group", column="patient")


def loaded(folder: Path, table: pd.DataFrame = TABLE, target: str = "label", **keys: Any) -> Dataset:
    table.to_csv(folder / "t.csv", index=False)
    dropped = tuple({"label", "price"} - {target})
    return load_dataset(DataSettings("t.csv", target=target, drop=dropped, **keys), folder)


def asked(dataset: Dataset, objective: str) -> Question:
    from nightune.models.networks.heads import Head

    return Question.of(dataset, dataset.test.open(Purpose.GATE, lambda: None), objective, Head("classes", True))


def ones(question: Question) -> np.ndarray:
    return np.ones((1, question.rows.count))


def with_labels(labels: list[str]) -> pd.DataFrame:
    return TABLE.assign(label=labels)


@pytest.mark.parametrize(
    ("objective", "target", "loss", "value"),
    [
        ("val_auc", "label", "1 - auc", 0.5),
        ("val_balanced_accuracy", "label", "1 - balanced_accuracy", 0.5),
        ("val_f1_macro", "label", "1 - f1_macro", None),
        ("val_mcc", "label", "1 - mcc", 1.0),
        ("val_pr_auc", "label", "1 - pr_auc", None),
        ("val_spearman", "price", "1 - spearman", 1.0),
        ("val_r2", "price", "1 - r2", 1.0),
        ("val_rmse", "price", "rmse", None),
    ],
)
def test_the_baseline_has_its_value_in_the_metric(
    tmp_path: Path, objective: str, target: str, loss: str, value: float | None
) -> None:
    question = asked(loaded(tmp_path, target=target), objective)
    assert question.loss == loss
    (baseline,) = question.baseline().metrics
    expected = baseline_by_hand(question, objective) if value is None else value
    assert baseline(ones(question))[0] == pytest.approx(expected, abs=0.06 if objective == "val_r2" else 1e-4)


def baseline_by_hand(question: Question, objective: str) -> float:
    wanted = question.truth.values
    if objective == "val_pr_auc":
        return float((wanted == "no").mean())  # the precision of equal scores is the share of "yes"
    if objective == "val_f1_macro":
        share = float((wanted == "no").mean())
        return 1 - share / (1 + share)  # F1 of the common class is 2 share / (1 + share), that of the other 0
    guess = float(question.dataset.train.targets.mean())
    return float(np.sqrt(np.mean((wanted - guess) ** 2)))


@pytest.mark.parametrize("objective", ["val_loss", "val_accuracy"])
def test_a_mean_over_rows_is_compared_by_its_losses(tmp_path: Path, objective: str) -> None:
    question = asked(loaded(tmp_path), objective)
    assert question.is_row_mean
    assert question.baseline().metrics == ()
    assert question.rows.groups is None
    assert question.loss == question.measure
    assert question.undefined() == []


@pytest.mark.parametrize("objective", ["val_auc", "val_pr_auc", "val_mcc", "val_brier", "val_top_3"])
def test_several_classes_have_a_baseline_and_are_compared_by_name(
    tmp_path: Path, objective: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nightune.models.networks.heads import Head

    names = np.array([*"abcd"])
    table = with_labels(names[np.arange(ROWS) % 4].tolist())
    question = asked(loaded(tmp_path, table), objective)
    assert question.undefined() == []
    wanted = np.searchsorted(names, question.truth.values)
    logits = (2 * np.eye(4)[wanted] + random.normal(0, 1, (len(wanted), 4))).astype(np.float32)
    logits[:, 3] -= 9  # never predicted, and seldom among three

    def value(outputs: np.ndarray, classes: str) -> float:
        description = {"task": "multiclass", "classes": [*classes], "is_logits": True, "output_size": outputs.shape[1]}
        made = Predictor(lambda inputs, training: outputs, None, description)
        monkeypatch.setattr(Predictor, "open", lambda *_: made)
        side = question.side(tmp_path, (), outputs)
        return float(side.functions[0](ones(question))[0])

    expected = Head("classes", True).metrics("multiclass", logits, wanted, None, named(objective))[objective[4:]]
    expected = expected if objective == "val_brier" else 1 - expected
    assert value(logits, "abcd") == pytest.approx(expected, rel=1e-5)
    assert value(logits[:, [2, 0, 3, 1]], "cadb") == pytest.approx(expected, rel=1e-5)
    assert value(logits[:, :3], "abc") >= expected - (1e-9 if objective != "val_auc" else 1.0)
    (baseline,) = question.baseline().functions
    by_chance = {"val_auc": 0.5, "val_pr_auc": 0.75, "val_mcc": 1.0, "val_brier": 0.75, "val_top_3": 0.25}[objective]
    assert baseline(ones(question))[0] == pytest.approx(by_chance, abs=0.01)


@pytest.mark.parametrize("objective", ["val_brier", "val_log_loss"])
def test_two_classes_are_compared_by_their_probabilities(tmp_path: Path, objective: str) -> None:
    question = asked(loaded(tmp_path), objective)
    share = question.dataset.train.targets.mean()
    is_yes = question.truth.values == "yes"
    chosen = np.where(is_yes, share, 1 - share)
    expected = (1 - chosen) ** 2 if objective == "val_brier" else -np.log(chosen)
    np.testing.assert_allclose(question.baseline().losses[0], expected, rtol=1e-6)


@pytest.mark.parametrize("scale_target", [False, True])
def test_relative_errors_are_compared_in_units_and_not_for_a_target_of_0(tmp_path: Path, scale_target: bool) -> None:
    dataset = loaded(tmp_path, TABLE, "price", scale_target=scale_target)
    question = asked(dataset, "val_mape")
    assert (question.loss, question.undefined()) == ("relative error", [])
    losses = question.baseline().losses[0]
    known = TABLE["price"].to_numpy()
    constants = np.array([np.mean(np.abs(known - guess) / known) for guess in known])
    guess = known[constants.argmin()]
    wanted = question.truth.values[:, 0]
    assert losses.mean() == pytest.approx(np.mean(np.abs(wanted - guess) / wanted), rel=0.05)
    zero = TABLE.assign(price=np.where(np.arange(ROWS) == ROWS - 1, 0.0, TABLE["price"]))
    last = Split(kind="time", column="patient")
    (guard,) = asked(loaded(tmp_path, zero, "price", scale_target=scale_target, split=last), "val_mape").undefined()
    assert "is 0" in guard.said


@pytest.mark.parametrize("scale_target", [False, True])
def test_quantiles_are_compared_by_their_own_outputs_in_units(
    tmp_path: Path, scale_target: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sklearn.metrics import mean_pinball_loss

    dataset = loaded(tmp_path, TABLE, "price", scale_target=scale_target)
    question = asked(dataset, "val_pinball_0.9")
    wanted, known = question.truth.values[:, 0], TABLE["price"].to_numpy()
    assert (question.loss, question.undefined()) == ("pinball loss of the quantile 0.9", [])
    baseline = question.baseline().losses[0].mean()
    guess = np.full(len(wanted), np.quantile(known, 0.9))
    assert baseline == pytest.approx(mean_pinball_loss(wanted, guess, alpha=0.9), rel=0.1)
    scale = dataset.description.get("target_scale", {"mean": [0.0], "deviation": [1.0]})
    outputs = (wanted[:, None] + [-3.0, 0.0, 2.0] - scale["mean"][0]) / scale["deviation"][0]
    description = {**dataset.description, "is_logits": False, "quantiles": [0.1, 0.5, 0.9], "output_size": 3}
    made = Predictor(lambda inputs, training: outputs, None, description)
    monkeypatch.setattr(Predictor, "open", lambda *_: made)
    losses = question.side(tmp_path, (), outputs).losses[0]
    assert losses.mean() == pytest.approx(mean_pinball_loss(wanted, wanted + 2.0, alpha=0.9), rel=1e-4)
    assert asked(dataset, "val_mae_original").loss == "absolute error"


def named(objective: str) -> Named:
    return Named((objective.removeprefix("val_"),))


def test_models_are_compared_by_the_names_of_their_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = loaded(tmp_path)
    auc, f1 = asked(dataset, "val_auc"), asked(dataset, "val_f1_macro")
    is_yes = (auc.truth.values == "yes").astype(np.float32)
    logits = (is_yes * 2 - 1 + random.normal(0, 1, len(is_yes)).astype(np.float32))[:, None]

    def losses(outputs: np.ndarray, classes: list[str]) -> list[float]:
        description = {"task": "binary", "classes": classes, "is_logits": True, "output_size": outputs.shape[1]}
        made = Predictor(lambda inputs, training: outputs, None, description)
        monkeypatch.setattr(Predictor, "open", lambda *_: made)
        sides = [question.side(tmp_path, (), outputs) for question in (auc, f1)]
        return [side.metrics[0](ones(auc))[0] for side in sides]

    plain = losses(logits, ["no", "yes"])
    assert losses(-logits, ["yes", "no"]) == pytest.approx(plain)
    both = np.concatenate([np.zeros_like(logits), logits], axis=1)
    assert losses(both, ["no", "yes"]) == pytest.approx(plain)
    unknown = losses(logits, ["no", "perhaps"])
    assert unknown[1] > plain[1]
    assert np.isfinite(unknown).all()


def test_models_with_outputs_that_are_not_finite_have_no_metric(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = asked(loaded(tmp_path), "val_auc")
    outputs = np.full((question.rows.count, 1), np.nan, np.float32)
    description = {"task": "binary", "classes": ["no", "yes"], "is_logits": True, "output_size": 1}
    made = Predictor(lambda inputs, training: outputs, None, description)
    monkeypatch.setattr(Predictor, "open", lambda *_: made)
    side = question.side(tmp_path, (), outputs)
    assert (side.metrics, np.isnan(side.losses).all()) == ((), True)


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
    baseline = question.baseline()
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


def weighted(folder: Path, target: str, **keys: Any) -> Dataset:
    """The data set with whole weights of rows, some of them 0."""
    return loaded(folder, TABLE.assign(w=np.arange(ROWS) % 4), target, weight="w", **keys)


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
    baseline = question.baseline()
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
    np.testing.assert_allclose(question.baseline().losses[0], expected, rtol=1e-6)


def test_a_single_row_with_a_weight_has_no_variance(tmp_path: Path) -> None:
    dataset = weighted(tmp_path, "label")
    test = dataset.test.open(Purpose.GATE, lambda: None)
    alone = np.zeros(len(test), np.float32)
    alone[0] = 1.0
    from nightune.models.networks.heads import Head

    question = Question.of(dataset, replace(test, weights=alone), "val_accuracy", Head("classes", True))
    (guard,) = question.undefined()
    assert "no value" in guard.said


OWN = """
import numpy as np
from sklearn.metrics import roc_auc_score


def mean_error(y_true, y_pred, weights):
    return float(np.average(np.abs(y_true - y_pred), weights=weights))


def area(y_true, y_pred):
    return roc_auc_score(y_true, y_pred)


def found(y_true, y_pred):
    return float(np.mean((y_pred > 0.5) & (y_true == 1)) - 0.1 * np.mean(y_pred > 0.5))


def sure(y_true, y_pred):
    if np.ptp(y_pred) > 0:
        raise ValueError("these predictions differ")
    return 1.0
"""


def own_question(folder: Path, dataset: Dataset, name: str, direction: Direction = "maximize") -> Question:
    from nightune.models.networks.heads import Head

    (folder / "own.py").write_text(OWN)
    own = OwnMetric.load(f"own.py:{name}", folder, direction)
    test = dataset.test.open(Purpose.GATE, lambda: None)
    return Question.of(dataset, test, f"val_{name}", Head("classes", True), own)


def opened(monkeypatch: pytest.MonkeyPatch, outputs: np.ndarray, **description: Any) -> None:
    made = Predictor(lambda inputs, training: outputs, None, {"is_logits": True, **description})
    monkeypatch.setattr(Predictor, "open", lambda *_: made)


def test_a_metric_of_the_user_is_compared_as_a_built_in_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = loaded(tmp_path)
    built_in, own = asked(dataset, "val_auc"), own_question(tmp_path, dataset, "area")
    assert (own.loss, own.is_row_mean, own.undefined()) == ("1 - area", False, [])
    is_yes = (own.truth.values == "yes").astype(np.float32)
    logits = (3 * is_yes + random.normal(0, 1, len(is_yes)).astype(np.float32))[:, None]
    weights = np.concatenate([own.rows.all, *own.rows.bootstrap(np.random.default_rng(0), 20)])
    opened(monkeypatch, -logits, task="binary", classes=["yes", "no"], output_size=1)
    expected, found = (question.side(tmp_path, (), logits) for question in (built_in, own))
    np.testing.assert_allclose(found.metrics[0](weights), expected.metrics[0](weights))
    assert own.baseline().metrics[0](weights) == pytest.approx(0.5)
    assert found.cost.resamples(2, len(is_yes)) == 1000
    gain = compare_sides(found, own.baseline(), own.rows, 0.95, seed=1, opponent_is_fixed=True)
    assert gain.low > 0


def test_a_metric_of_the_user_is_in_units_and_by_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = weighted(tmp_path, "price", scale_target=True)
    question = own_question(tmp_path, dataset, "mean_error", "minimize")
    wanted, weights = question.truth.values[:, 0], question.rows.weights
    assert question.loss == "mean_error (rows by their weights)"
    outputs = np.linspace(-1, 1, len(wanted), dtype=np.float32)[:, None]
    scale = {"mean": [300.0], "deviation": [50.0]}
    opened(monkeypatch, outputs, task="regression", target_scale=scale, output_size=1)
    expected = np.average(np.abs(300 + 50 * outputs[:, 0] - wanted), weights=weights)
    assert question.side(tmp_path, (), outputs).metrics[0](question.rows.all)[0] == pytest.approx(expected)
    known = in_units(dataset.train.targets, dataset.description)
    guess = np.quantile(known, 0.5, weights=dataset.train.weights.astype(float), method="inverted_cdf")
    constant = np.average(np.abs(guess - wanted), weights=weights)  # the median is better than the mean
    assert question.baseline().metrics[0](question.rows.all)[0] == pytest.approx(constant)


def test_the_baseline_of_a_metric_of_the_user_is_the_best_constant(tmp_path: Path) -> None:
    """The shares of the classes find none of the rarer class; to predict it always finds all of them."""
    question = own_question(tmp_path, loaded(tmp_path), "found")
    share = float((question.truth.values == "yes").mean())
    assert question.baseline().metrics[0](ones(question))[0] == pytest.approx(1 - (share - 0.1))


def test_a_metric_of_the_user_may_have_no_value_for_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    question = own_question(tmp_path, loaded(tmp_path), "sure")
    assert question.undefined() == []
    outputs = np.linspace(-1, 1, question.rows.count, dtype=np.float32)[:, None]
    opened(monkeypatch, outputs, task="binary", classes=["no", "yes"], output_size=1)
    side = question.side(tmp_path, (), outputs)
    with pytest.raises(InputError, match="these predictions differ"):
        compare_sides(side, question.baseline(), question.rows, 0.95, seed=1, opponent_is_fixed=True)
    assert not question.incomparable("x").passed


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
