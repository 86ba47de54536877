"""Metrics: equal to scikit-learn's and to Keras' own losses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import metrics as oracle

from nightune.models.networks.metrics import metrics
from nightune.vocabulary import TASK_METRICS
from tests.rows import missing_rows


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global Head
    from nightune.models.networks.heads import Head


generator = np.random.default_rng(1)
CLASSES = generator.integers(0, 4, 60)
CLASSES[CLASSES == 3] = 2  # a class that is predicted but never true
LOGITS = generator.normal(size=(60, 4)) * 3
TWO = generator.integers(0, 2, 60)
ONE_LOGIT = np.round(generator.normal(size=(60, 1)) * 2, 1)  # with ties
LABELS = (np.random.default_rng(2).random((60, 4)) < [0.5, 0.1, 0.9, 0.3]).astype(np.int32)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def keras_loss(head: Head, targets: np.ndarray, outputs: np.ndarray) -> float:
    return float(head.make_loss()(head.targets(targets), outputs.astype(np.float32)))


def test_classification_equals_scikit_learn() -> None:
    found = metrics("multiclass", LOGITS, CLASSES, is_logits=True)
    predicted = LOGITS.argmax(axis=1)
    assert found["loss"] == pytest.approx(oracle.log_loss(CLASSES, softmax(LOGITS), labels=range(4)), rel=1e-12)
    assert found["accuracy"] == oracle.accuracy_score(CLASSES, predicted)
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        assert found["balanced_accuracy"] == pytest.approx(oracle.balanced_accuracy_score(CLASSES, predicted))
    assert found["f1_macro"] == pytest.approx(oracle.f1_score(CLASSES, predicted, average="macro", zero_division=0))


def test_two_classes_equal_scikit_learn() -> None:
    found = metrics("binary", ONE_LOGIT, TWO, is_logits=True)
    probability = 1 / (1 + np.exp(-ONE_LOGIT[:, 0]))
    assert found["auc"] == pytest.approx(oracle.roc_auc_score(TWO, probability), rel=1e-12)
    assert found["loss"] == pytest.approx(oracle.log_loss(TWO, probability), rel=1e-12)
    assert found["accuracy"] == oracle.accuracy_score(TWO, probability > 0.5)
    assert found["f1_macro"] == pytest.approx(oracle.f1_score(TWO, probability > 0.5, average="macro"))


def test_two_classes_are_the_same_with_one_output_or_two() -> None:
    one = metrics("binary", ONE_LOGIT, TWO, is_logits=True)
    two = metrics("binary", np.concatenate([np.zeros_like(ONE_LOGIT), ONE_LOGIT], axis=1), TWO, is_logits=True)
    assert two == pytest.approx(one)


@pytest.mark.parametrize("is_logits", [True, False])
def test_labels_equal_scikit_learn(is_logits: bool) -> None:
    probability = 1 / (1 + np.exp(-LOGITS))
    found = metrics("multilabel", LOGITS if is_logits else probability, LABELS, is_logits)
    predicted = (probability > 0.5).astype(int)
    losses = [oracle.log_loss(LABELS[:, label], probability[:, label]) for label in range(4)]
    assert found == pytest.approx(
        {
            "loss": np.mean(losses),
            "accuracy": oracle.accuracy_score(LABELS, predicted),
            "label_accuracy": 1 - oracle.hamming_loss(LABELS, predicted),
            "f1_macro": oracle.f1_score(LABELS, predicted, average="macro"),
            "f1_micro": oracle.f1_score(LABELS, predicted, average="micro"),
            "auc": oracle.roc_auc_score(LABELS, probability, average="macro"),
        },
        rel=1e-12,
    )


def test_a_label_that_never_occurs_has_no_area_under_curve_and_an_f1_of_0() -> None:
    targets = LABELS * [1, 1, 1, 0]
    found = metrics("multilabel", LOGITS, targets, is_logits=True)
    assert found["auc"] == pytest.approx(oracle.roc_auc_score(targets[:, :3], LOGITS[:, :3], average="macro"))
    expected = oracle.f1_score(targets, LOGITS > 0, average="macro", zero_division=0)
    assert found["f1_macro"] == pytest.approx(expected)
    assert np.isnan(metrics("multilabel", LOGITS, 0 * targets, is_logits=True)["auc"])


@pytest.mark.parametrize("shape", [(60,), (60, 3)])
def test_regression_equals_scikit_learn(shape: tuple[int, ...]) -> None:
    targets = generator.normal(size=shape)
    outputs = targets + generator.normal(size=shape)
    found = metrics("regression", outputs, targets, is_logits=False)
    assert found["loss"] == pytest.approx(oracle.mean_squared_error(targets, outputs))
    assert found["rmse"] == pytest.approx(found["loss"] ** 0.5)
    assert found["mae"] == pytest.approx(oracle.mean_absolute_error(targets, outputs))
    assert found["r2"] == pytest.approx(oracle.r2_score(targets, outputs))


def test_r2_of_a_constant_target_equals_that_of_scikit_learn() -> None:
    constant, near = np.ones(4), np.array([1.0, 1.0, 1.0, 2.0])
    assert metrics("regression", constant[:, None], constant, is_logits=False)["r2"] == 1.0
    assert metrics("regression", near[:, None], constant, is_logits=False)["r2"] == oracle.r2_score(constant, near)


def test_regression_of_one_target_takes_outputs_of_one_column() -> None:
    targets = generator.normal(size=60)
    assert metrics("regression", targets[:, None] + 1.0, targets, is_logits=False)["loss"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("kind", "is_logits", "targets", "outputs"),
    [
        ("classes", True, CLASSES, LOGITS),
        ("classes", False, CLASSES, softmax(LOGITS)),
        ("two classes", True, TWO, ONE_LOGIT),
        ("two classes", False, TWO, 1 / (1 + np.exp(-ONE_LOGIT))),
        ("labels", True, LABELS, LOGITS),
        ("labels", False, LABELS, 1 / (1 + np.exp(-LOGITS))),
    ],
)
def test_the_loss_is_what_keras_trains_on(kind: str, is_logits: bool, targets: np.ndarray, outputs: np.ndarray) -> None:
    head = Head(kind, is_logits)
    task = {"two classes": "binary", "labels": "multilabel"}.get(head.kind, "multiclass")
    found = metrics(task, outputs, targets, head.is_logits)["loss"]
    assert found == pytest.approx(keras_loss(head, targets, outputs), rel=1e-6)
    metric = head.make_metric("data_loss")
    metric.update_state(head.targets(targets), outputs.astype(np.float32))
    assert found == pytest.approx(float(metric.result()), rel=1e-6)


def test_probabilities_of_zero_and_one_are_clipped_as_in_keras() -> None:
    outputs, targets = np.array([[0.0], [1.0], [1.0]]), np.array([1, 0, 1])
    found = metrics("binary", outputs, targets, is_logits=False)["loss"]
    assert found == pytest.approx(2 * -np.log(1e-7) / 3, rel=1e-6)
    assert keras_loss(Head("two classes", is_logits=False), targets, outputs) == pytest.approx(found, rel=1e-2)


def test_large_logits_overflow_nothing() -> None:
    found = metrics("multiclass", np.array([[1e4, -1e4], [-1e4, 1e4]]), np.array([1, 1]), is_logits=True)
    assert found["loss"] == pytest.approx(1e4)
    assert metrics("binary", np.array([[1e4], [-1e4]]), np.array([0, 0]), is_logits=True)["loss"] == pytest.approx(5e3)


@pytest.mark.parametrize("task", TASK_METRICS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_output_that_is_not_finite_makes_every_metric_nan(task: str, bad: float) -> None:
    outputs = np.zeros((4, 2))
    outputs[2, 1] = bad
    targets: Any = np.zeros((4, 2)) if task in ("regression", "multilabel") else np.array([0, 1, 0, 1])
    found = metrics(task, outputs, targets, is_logits=True)
    assert tuple(found) == TASK_METRICS[task]
    assert np.isnan(list(found.values())).all()


def test_area_under_curve_of_one_class_is_nan() -> None:
    assert np.isnan(metrics("binary", ONE_LOGIT, np.zeros(60), is_logits=True)["auc"])


@pytest.mark.parametrize("task", TASK_METRICS)
def test_every_metric_is_returned_as_a_python_float(task: str) -> None:
    outputs = np.eye(3, dtype=np.float32)[:, :2] if task == "binary" else np.eye(3, dtype=np.float32)
    targets = np.eye(3) if task in ("regression", "multilabel") else np.array([0, 1, 1])
    found = metrics(task, outputs, targets, is_logits=True)
    assert missing_rows(TASK_METRICS[task], found, f"models/networks/metrics.py, {task}") == []
    assert tuple(found) == TASK_METRICS[task]
    assert {type(value) for value in found.values()} == {float}


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(ValueError, match="task: unknown 'ranking'"):
        metrics("ranking", ONE_LOGIT, TWO, is_logits=True)
