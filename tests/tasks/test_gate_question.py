"""What the gate compares: the study's own metric, of models and of the baseline."""

from pathlib import Path

import numpy as np
import pytest

from nightune.models.data.splits import Split
from nightune.models.networks.named_metrics import Named
from nightune.models.serving.predictor import Predictor
from nightune.tasks.gate_question import Question
from tests.tasks.gate_questions import ROWS, TABLE, asked, loaded, ones, with_labels

random = np.random.default_rng(1)


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
    (baseline,) = question.baseline.metrics
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
    assert question.baseline.metrics == ()
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

    expected = Head("classes", True).metrics("multiclass", logits, wanted, None, Named((objective[4:],)))[objective[4:]]
    expected = expected if objective == "val_brier" else 1 - expected
    assert value(logits, "abcd") == pytest.approx(expected, rel=1e-5)
    assert value(logits[:, [2, 0, 3, 1]], "cadb") == pytest.approx(expected, rel=1e-5)
    assert value(logits[:, :3], "abc") >= expected - (1e-9 if objective != "val_auc" else 1.0)
    (baseline,) = question.baseline.functions
    by_chance = {"val_auc": 0.5, "val_pr_auc": 0.75, "val_mcc": 1.0, "val_brier": 0.75, "val_top_3": 0.25}[objective]
    assert baseline(ones(question))[0] == pytest.approx(by_chance, abs=0.01)


@pytest.mark.parametrize("objective", ["val_brier", "val_log_loss"])
def test_two_classes_are_compared_by_their_probabilities(tmp_path: Path, objective: str) -> None:
    question = asked(loaded(tmp_path), objective)
    share = question.dataset.train.targets.mean()
    is_yes = question.truth.values == "yes"
    chosen = np.where(is_yes, share, 1 - share)
    expected = (1 - chosen) ** 2 if objective == "val_brier" else -np.log(chosen)
    np.testing.assert_allclose(question.baseline.losses[0], expected, rtol=1e-6)


@pytest.mark.parametrize("scale_target", [False, True])
def test_relative_errors_are_compared_in_units_and_not_for_a_target_of_0(tmp_path: Path, scale_target: bool) -> None:
    dataset = loaded(tmp_path, TABLE, "price", scale_target=scale_target)
    question = asked(dataset, "val_mape")
    assert (question.loss, question.undefined()) == ("relative error", [])
    losses = question.baseline.losses[0]
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
    baseline = question.baseline.losses[0].mean()
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
