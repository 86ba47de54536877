"""The gate's measurements equal those of scikit-learn, for all models and forms of their outputs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from nightune.models.data.dataset import Dataset, Purpose
from nightune.models.data.loading import load_dataset
from nightune.models.data.settings import DataSettings
from nightune.models.errors import InputError
from nightune.models.serving.predictor import Predictor
from nightune.vocabulary import OBJECTIVES, TASK_METRICS
from tests.rows import missing_rows


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global MEASURES, Head, Truth, all_metrics, latency_ms, measure_of, row_losses, trivial_losses, truth
    from nightune.models.networks.heads import Head
    from nightune.models.networks.row_losses import (
        MEASURES,
        all_metrics,
        latency_ms,
        measure_of,
        row_losses,
        trivial_losses,
    )
    from nightune.models.networks.truth import Truth, truth


CLASSES = ("a", "b", "c")
LABELS = np.array(["a", "b", "c", "a", "a", "b"])
LOGITS = np.random.default_rng(0).normal(0, 2, (6, 3)).astype(np.float32)


def predictor(outputs: np.ndarray, **description: Any) -> Predictor:
    """A model that returns outputs[i] for row i: its input is the row's number."""
    known = {"task": "multiclass", "classes": list(CLASSES), "is_logits": True, "output_size": outputs.shape[1]}
    return Predictor(lambda rows, training: outputs[rows[:, 0].astype(int)], None, {**known, **description})


def rows(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.float32).reshape(-1, 1)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits.astype(np.float64))
    return powers / powers.sum(axis=1, keepdims=True)


def test_every_objective_has_a_loss_for_the_tasks_that_have_it() -> None:
    assert missing_rows(OBJECTIVES, MEASURES, "MEASURES in models/networks/row_losses.py") == []
    assert set(MEASURES) <= set(OBJECTIVES)
    assert measure_of("val_loss", "regression") == "squared error"
    assert measure_of("val_loss", "binary") == "log loss"
    for name in TASK_METRICS["multilabel"]:
        assert measure_of(f"val_{name}", "multilabel") in {"log loss", "error", "label error", "balanced label error"}


def test_class_losses_equal_those_of_scikit_learn() -> None:
    known = Truth(LABELS, is_regression=False)
    chosen = np.array(CLASSES)[LOGITS.argmax(axis=1)]
    expected = {
        "log loss": sklearn_metrics.log_loss(LABELS, softmax(LOGITS), labels=CLASSES),
        "error": 1 - sklearn_metrics.accuracy_score(LABELS, chosen),
        "balanced error": 1 - sklearn_metrics.balanced_accuracy_score(LABELS, chosen),
    }
    for measure, value in expected.items():
        losses = row_losses(predictor(LOGITS), rows(6), known, measure)
        assert losses.shape == (6,)
        assert losses.mean() == pytest.approx(value, rel=1e-6)


def test_models_with_other_outputs_and_another_order_of_labels_are_comparable() -> None:
    known = Truth(LABELS, is_regression=False)
    plain = row_losses(predictor(LOGITS), rows(6), known, "log loss")
    probabilities = predictor(softmax(LOGITS).astype(np.float32), is_logits=False)
    np.testing.assert_allclose(row_losses(probabilities, rows(6), known, "log loss"), plain, rtol=1e-5)
    turned = predictor(LOGITS[:, [2, 0, 1]], classes=["c", "a", "b"])
    np.testing.assert_allclose(row_losses(turned, rows(6), known, "log loss"), plain, rtol=1e-6)


def test_one_output_and_two_outputs_have_the_same_losses() -> None:
    labels = Truth(np.array(["no", "yes", "yes"]), is_regression=False)
    logits = np.array([[-1.0], [0.5], [3.0]], dtype=np.float32)
    both = np.concatenate([np.zeros_like(logits), logits], axis=1)
    one = row_losses(predictor(logits, classes=["no", "yes"]), rows(3), labels, "log loss")
    two = row_losses(predictor(both, classes=["no", "yes"]), rows(3), labels, "log loss")
    np.testing.assert_allclose(one, two, rtol=1e-6)


def test_a_label_that_the_champion_never_saw_counts_as_wrong_and_not_as_an_error() -> None:
    known = Truth(np.array(["a", "new"]), is_regression=False)
    assert row_losses(predictor(LOGITS), rows(2), known, "error")[1] == 1.0
    assert row_losses(predictor(LOGITS), rows(2), known, "log loss")[1] == pytest.approx(-np.log(1e-7))


TAGS = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0], [1, 0, 0], [0, 1, 0]], dtype=np.int32)


def tagger(outputs: np.ndarray, **description: Any) -> Predictor:
    return predictor(outputs, **{"task": "multilabel", **description})


def test_losses_of_labels_equal_those_of_scikit_learn() -> None:
    known, predicted = Truth(TAGS, False, CLASSES), LOGITS > 0
    probability = 1 / (1 + np.exp(-LOGITS.astype(np.float64)))
    logs = [sklearn_metrics.log_loss(TAGS[:, place], probability[:, place], labels=[0, 1]) for place in range(3)]
    balanced = [sklearn_metrics.balanced_accuracy_score(TAGS[:, place], predicted[:, place]) for place in range(2)]
    expected = {
        "log loss": np.mean(logs),
        "error": 1 - sklearn_metrics.accuracy_score(TAGS, predicted),
        "label error": sklearn_metrics.hamming_loss(TAGS, predicted),
        "balanced label error": np.mean([1 - balanced[0], 1 - balanced[1], predicted[:, 2].mean()]),
    }
    for measure, value in expected.items():
        losses = row_losses(tagger(LOGITS), rows(6), known, measure)
        assert losses.shape == (6,)
        assert losses.mean() == pytest.approx(value, rel=1e-6)


def test_labels_of_models_with_other_outputs_are_compared_by_name() -> None:
    known = Truth(TAGS, False, CLASSES)
    plain = row_losses(tagger(LOGITS), rows(6), known, "log loss")
    probabilities = tagger((1 / (1 + np.exp(-LOGITS)))[:, [2, 0, 1]], is_logits=False, classes=["c", "a", "b"])
    np.testing.assert_allclose(row_losses(probabilities, rows(6), known, "log loss"), plain, rtol=1e-5)
    ignorant = tagger(LOGITS[:, :2], classes=["a", "b"])
    assert row_losses(ignorant, rows(6), known, "error").tolist() == [1.0] * 6
    assert (row_losses(ignorant, rows(6), known, "log loss") > -np.log(1e-7) / 3).all()


def test_the_baseline_of_labels_is_their_share_of_the_training_rows(tmp_path: Path) -> None:
    tags = np.random.default_rng(0).random((60, 2)) < [0.7, 0.2]
    np.savez(tmp_path / "tags.npz", x=np.arange(120.0).reshape(60, 2), y=tags)
    dataset = load_dataset(DataSettings("tags.npz"), tmp_path)
    test = dataset.test.open(Purpose.GATE, lambda: None)
    known = truth(dataset, test)
    shares = np.broadcast_to(dataset.train.targets.mean(axis=0), test.targets.shape)
    logs = [sklearn_metrics.log_loss(test.targets[:, place], shares[:, place], labels=[0, 1]) for place in range(2)]
    assert trivial_losses(dataset, known, "log loss").mean() == pytest.approx(np.mean(logs))
    hamming = sklearn_metrics.hamming_loss(test.targets, shares > 0.5)
    assert trivial_losses(dataset, known, "label error").mean() == pytest.approx(hamming)


def test_quantities_are_compared_in_the_units_of_the_data() -> None:
    known = Truth(np.array([[10.0], [20.0]]), is_regression=True)
    outputs = np.array([[0.0], [1.0]], dtype=np.float32)
    scaled = predictor(outputs, task="regression", target_scale={"mean": [12.0], "deviation": [4.0]})
    np.testing.assert_allclose(row_losses(scaled, rows(2), known, "squared error"), [4.0, 16.0])
    np.testing.assert_allclose(row_losses(scaled, rows(2), known, "absolute error"), [2.0, 4.0])


def test_several_quantities_are_compared_by_name() -> None:
    known = Truth(np.array([[1.0, 10.0], [2.0, 20.0]]), is_regression=True, names=("a", "b"))
    model = predictor(np.array([[10.0, 1.0, 0.0], [21.0, 2.0, 0.0]], dtype=np.float32), task="regression")

    def losses(names: list[str]) -> np.ndarray:
        model.description["outputs"] = names
        return row_losses(model, rows(2), known, "squared error")

    np.testing.assert_allclose(losses(["b", "a", "c"]), [0.0, 0.5])
    for own, words in ((["b", "x", "c"], "does not predict column 'a'"), ([], "predicts 3 quantities")):
        with pytest.raises(InputError, match=words):
            losses(own)


def test_outputs_that_are_not_finite_have_no_loss() -> None:
    broken = LOGITS.copy()
    broken[2, 1] = np.inf
    losses = row_losses(predictor(broken), rows(6), Truth(LABELS, is_regression=False), "error")
    assert np.isnan(losses).tolist() == [False, False, True, False, False, False]


@pytest.fixture(scope="module")
def flowers() -> Dataset:
    return load_dataset(DataSettings("iris"), Path())


def test_the_baseline_equals_the_dummy_of_scikit_learn(flowers: Dataset) -> None:
    from sklearn.dummy import DummyClassifier

    test = flowers.test.open(Purpose.GATE, lambda: None)
    dummy = DummyClassifier(strategy="prior").fit(flowers.train.inputs, flowers.train.targets)
    known = truth(flowers, test)
    assert flowers.classes is not None
    assert known.values.tolist() == [flowers.classes[index] for index in test.targets]
    expected = sklearn_metrics.log_loss(test.targets, dummy.predict_proba(test.inputs), labels=[0, 1, 2])
    assert trivial_losses(flowers, known, "log loss").mean() == pytest.approx(expected)
    wrong = 1 - dummy.score(test.inputs, test.targets)
    assert trivial_losses(flowers, known, "error").mean() == pytest.approx(wrong)


@pytest.mark.parametrize("scale_target", [False, True])
def test_the_baseline_of_quantities_is_their_mean_or_median(scale_target: bool) -> None:
    plain = load_dataset(DataSettings("diabetes"), Path())
    dataset = load_dataset(DataSettings("diabetes", scale_target=scale_target), Path())
    test = dataset.test.open(Purpose.GATE, lambda: None)
    known = truth(dataset, test)
    np.testing.assert_allclose(known.values[:, 0], plain.test.open(Purpose.GATE, lambda: None).targets, rtol=1e-5)
    errors = known.values[:, 0] - plain.train.targets.mean()
    np.testing.assert_allclose(trivial_losses(dataset, known, "squared error"), errors**2, rtol=1e-4, atol=1e-2)
    middle = np.abs(known.values[:, 0] - np.median(plain.train.targets))
    np.testing.assert_allclose(trivial_losses(dataset, known, "absolute error"), middle, rtol=1e-4, atol=1e-3)


def test_all_metrics_and_the_latency_are_measured(flowers: Dataset) -> None:
    targets = np.array([0, 1, 2, 0, 0, 1])
    assert all_metrics(predictor(LOGITS), rows(6), targets, Head("classes", is_logits=True))[
        "accuracy"
    ] == pytest.approx(float((LOGITS.argmax(axis=1) == targets).mean()))
    ticks = iter(np.arange(0.0, 100.0, 0.5))
    answering = predictor(LOGITS, input_shape=[1], input_type="float32")
    assert latency_ms(answering, rows(6), clock=lambda: float(next(ticks))) == 500.0


def test_the_latency_of_outputs_without_an_answer_is_measured_and_a_row_that_cannot_be_read_is_refused() -> None:
    broken = predictor(LOGITS * np.nan, input_shape=[1], input_type="float32")
    with pytest.raises(InputError, match="nan"):
        broken.predict(rows(1))
    assert latency_ms(broken, rows(6)) > 0
    with pytest.raises(InputError, match="shape"):
        latency_ms(broken, np.zeros((6, 2)))
