"""Metrics by weights of rows are scikit-learn's with `sample_weight`; with equal weights, those without any."""

from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from nightune.vocabulary import POSITIONS, TASK_METRICS

BY_ROW = [task for task in TASK_METRICS if task != POSITIONS]  # test_positions.py has the other


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global Head, named_loss
    from nightune.models.networks.heads import Head
    from nightune.models.networks.losses import named_loss


ROWS = 40
generator = np.random.default_rng(0)
BINARY = generator.integers(0, 2, ROWS)
CLASSES = generator.integers(0, 3, ROWS)
LABELS = generator.integers(0, 2, (ROWS, 3))
QUANTITIES = generator.normal(5, 2, (ROWS, 2))
LOGIT = (BINARY[:, None] - 0.5 + generator.normal(0, 1, (ROWS, 1))).round(1)
LOGITS = generator.normal(0, 1, (ROWS, 3))
LABEL_LOGITS = LABELS - 0.5 + generator.normal(0, 1, (ROWS, 3))
VALUES = QUANTITIES + generator.normal(0, 1, (ROWS, 2))
WEIGHTS = np.where(np.arange(ROWS) % 7 == 0, 0.0, generator.exponential(1.0, ROWS)).astype(np.float32)
COUNTS = generator.integers(0, 4, ROWS)

# task → kind of head, outputs and targets
FORMS: dict[str, tuple[str, np.ndarray, np.ndarray]] = {
    "binary": ("two classes", LOGIT, BINARY),
    "multiclass": ("classes", LOGITS, CLASSES),
    "multilabel": ("labels", LABEL_LOGITS, LABELS),
    "regression": ("quantities", VALUES, QUANTITIES),
}


def measured(task: str, rows: Any = slice(None), weights: np.ndarray | None = None) -> dict[str, float]:
    kind, outputs, targets = FORMS[task]
    return dict(Head(kind, True).metrics(task, outputs[rows], targets[rows], weights))


@pytest.mark.parametrize("task", BY_ROW)
def test_equal_weights_give_the_metrics_without_weights(task: str) -> None:
    for weight in (1.0, 3.5):
        assert measured(task, weights=np.full(ROWS, weight, np.float32)) == pytest.approx(measured(task), rel=1e-9)


@pytest.mark.parametrize("task", BY_ROW)
def test_whole_weights_repeat_rows(task: str) -> None:
    expected = measured(task, np.repeat(np.arange(ROWS), COUNTS))
    assert measured(task, weights=COUNTS.astype(np.float32)) == pytest.approx(expected, rel=1e-9)


def test_metrics_are_those_of_scikit_learn() -> None:
    weights = {"sample_weight": WEIGHTS.astype(np.float64)}
    probability = 1 / (1 + np.exp(-LOGIT[:, 0]))
    predicted = (LOGIT[:, 0] > 0).astype(int)
    assert measured("binary", weights=WEIGHTS) == pytest.approx(
        {
            "loss": sklearn_metrics.log_loss(BINARY, probability, **weights),
            "accuracy": sklearn_metrics.accuracy_score(BINARY, predicted, **weights),
            "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(BINARY, predicted, **weights),
            "f1_macro": sklearn_metrics.f1_score(BINARY, predicted, average="macro", **weights),
            "auc": sklearn_metrics.roc_auc_score(BINARY, LOGIT[:, 0], **weights),
        }
    )
    assert measured("regression", weights=WEIGHTS) == pytest.approx(
        {
            "loss": sklearn_metrics.mean_squared_error(QUANTITIES, VALUES, **weights),
            "mae": sklearn_metrics.mean_absolute_error(QUANTITIES, VALUES, **weights),
            "rmse": np.sqrt(sklearn_metrics.mean_squared_error(QUANTITIES, VALUES, **weights)),
            "r2": sklearn_metrics.r2_score(QUANTITIES, VALUES, **weights),
        }
    )
    found = measured("multilabel", weights=WEIGHTS)
    assert found["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(LABELS, LABEL_LOGITS > 0, **weights))
    assert found["label_accuracy"] == pytest.approx(
        1 - sklearn_metrics.hamming_loss(LABELS, LABEL_LOGITS > 0, **weights)
    )


def test_the_training_loss_is_averaged_by_weight() -> None:
    head = Head("quantities", False, named_loss("mae", "quantities", False, ()))
    found = head.metrics("regression", VALUES, QUANTITIES, WEIGHTS)
    assert found["loss"] == pytest.approx(found["mae"], rel=1e-6)
    assert np.isnan(head.metrics("regression", VALUES * np.nan, QUANTITIES, WEIGHTS)["loss"])


@pytest.mark.parametrize("task", BY_ROW)
def test_rows_without_weight_and_lost_outputs_have_no_value(task: str) -> None:
    assert all(np.isnan(value) for value in measured(task, weights=np.zeros(ROWS, np.float32)).values())
    kind, outputs, targets = FORMS[task]
    found = Head(kind, True).metrics(task, outputs * np.nan, targets, WEIGHTS)
    assert set(found) == set(TASK_METRICS[task])
    assert all(np.isnan(value) for value in found.values())


def test_a_constant_target_is_explained_only_exactly() -> None:
    targets = np.where(WEIGHTS > 0, 2.0, 9.0)[:, None]
    head = Head("quantities", False)
    assert head.metrics("regression", np.full((ROWS, 1), 2.0), targets, WEIGHTS)["r2"] == 1.0
    assert head.metrics("regression", np.full((ROWS, 1), 2.5), targets, WEIGHTS)["r2"] == 0.0
