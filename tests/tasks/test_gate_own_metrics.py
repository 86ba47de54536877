"""A metric of the user in the gate: compared as a built-in one, in units, by weights, or without a value."""

from pathlib import Path

import numpy as np
import pytest

from nightune.models.data.dataset import Dataset, Purpose
from nightune.models.errors import InputError
from nightune.models.networks.own_metrics import OwnMetric
from nightune.models.serving.predictor import in_units
from nightune.tasks.gate_question import Question
from nightune.tuning.analysis.metric_gain import compare_sides
from nightune.vocabulary import Direction
from tests.tasks.gate_questions import asked, loaded, ones, opened, weighted

random = np.random.default_rng(1)

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
    assert own.baseline.metrics[0](weights) == pytest.approx(0.5)
    assert found.cost.resamples(2, len(is_yes)) == 1000
    gain = compare_sides(found, own.baseline, own.rows, 0.95, seed=1, opponent_is_fixed=True)
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
    assert question.baseline.metrics[0](question.rows.all)[0] == pytest.approx(constant)


def test_the_baseline_of_a_metric_of_the_user_is_the_best_constant(tmp_path: Path) -> None:
    """The shares of the classes find none of the rarer class; to predict it always finds all of them."""
    question = own_question(tmp_path, loaded(tmp_path), "found")
    share = float((question.truth.values == "yes").mean())
    assert question.baseline.metrics[0](ones(question))[0] == pytest.approx(1 - (share - 0.1))


def test_a_metric_of_the_user_may_have_no_value_for_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    question = own_question(tmp_path, loaded(tmp_path), "sure")
    assert question.undefined() == []
    outputs = np.linspace(-1, 1, question.rows.count, dtype=np.float32)[:, None]
    opened(monkeypatch, outputs, task="binary", classes=["no", "yes"], output_size=1)
    side = question.side(tmp_path, (), outputs)
    with pytest.raises(InputError, match="these predictions differ"):
        compare_sides(side, question.baseline, question.rows, 0.95, seed=1, opponent_is_fixed=True)
    assert not question.incomparable("x").passed
