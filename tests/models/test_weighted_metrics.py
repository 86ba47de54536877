"""The weighted metrics equal those of scikit-learn, for whole and for real weights."""

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from nightune.models.networks.metrics import metrics
from nightune.models.networks.weighted_metrics import (
    LABEL_METRICS,
    METRICS,
    is_row_mean,
    label_metric_loss,
    metric_loss,
)
from nightune.vocabulary import OBJECTIVES, POSITIONS, TASK_METRICS

ROWS = 40
generator = np.random.default_rng(0)
CLASSES = generator.integers(0, 3, ROWS)
PREDICTED = np.where(generator.random(ROWS) < 0.6, CLASSES, generator.integers(0, 4, ROWS))  # class 3 never occurs
BINARY = generator.integers(0, 2, ROWS)
SCORES = np.round(BINARY + generator.normal(0, 1, ROWS), 1)  # some are equal
QUANTITIES = generator.normal(5, 2, (ROWS, 2))
VALUES = QUANTITIES + generator.normal(0, 1, (ROWS, 2))
WEIGHTS = np.concatenate(
    [np.ones((1, ROWS)), generator.multinomial(ROWS, np.full(ROWS, 1 / ROWS), 3), generator.exponential(1.0, (3, ROWS))]
)


def weighted_spearman(column: int, weights: np.ndarray) -> float:
    """The correlation of ranks, where a rank is the weight of lower values and half of that of equal ones."""
    columns = (VALUES[:, column], QUANTITIES[:, column])
    ranks = [[weights[each < one].sum() + weights[each == one].sum() / 2 for one in each] for each in columns]
    covariance = np.cov(ranks, aweights=weights)
    return float(covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]))


ORACLES = {
    "auc": (SCORES, BINARY, lambda w: 1 - sklearn_metrics.roc_auc_score(BINARY, SCORES, sample_weight=w)),
    "balanced_accuracy": (
        PREDICTED,
        CLASSES,
        lambda w: (
            1 - sklearn_metrics.recall_score(CLASSES, PREDICTED, average="macro", labels=[0, 1, 2], sample_weight=w)
        ),
    ),
    "f1_macro": (
        PREDICTED,
        CLASSES,
        lambda w: 1 - sklearn_metrics.f1_score(CLASSES, PREDICTED, average="macro", sample_weight=w, zero_division=0),
    ),
    "rmse": (
        VALUES,
        QUANTITIES,
        lambda w: np.sqrt(sklearn_metrics.mean_squared_error(QUANTITIES, VALUES, sample_weight=w)),
    ),
    "rmse_original": (
        VALUES,
        QUANTITIES,
        lambda w: sklearn_metrics.root_mean_squared_error(QUANTITIES, VALUES, sample_weight=w),
    ),
    "mean_iou": (
        PREDICTED,
        CLASSES,
        lambda w: 1 - sklearn_metrics.jaccard_score(CLASSES, PREDICTED, average="macro", sample_weight=w),
    ),
    "mcc": (PREDICTED, CLASSES, lambda w: 1 - sklearn_metrics.matthews_corrcoef(CLASSES, PREDICTED, sample_weight=w)),
    "pr_auc": (SCORES, BINARY, lambda w: 1 - sklearn_metrics.average_precision_score(BINARY, SCORES, sample_weight=w)),
    "spearman": (VALUES, QUANTITIES, lambda w: 1 - np.mean([weighted_spearman(one, w) for one in range(2)])),
    "r2": (VALUES, QUANTITIES, lambda w: 1 - sklearn_metrics.r2_score(QUANTITIES, VALUES, sample_weight=w)),
}


LABELS = generator.integers(0, 2, (ROWS, 3))
LABEL_SCORES = np.round(LABELS - 0.5 + generator.normal(0, 1, (ROWS, 3)), 1) + 0.01
LABEL_ORACLES = {
    "auc": lambda w: sklearn_metrics.roc_auc_score(LABELS, LABEL_SCORES, sample_weight=w),
    "pr_auc": lambda w: sklearn_metrics.average_precision_score(LABELS, LABEL_SCORES, sample_weight=w),
    "f1_macro": lambda w: sklearn_metrics.f1_score(LABELS, LABEL_SCORES > 0, average="macro", sample_weight=w),
    "f1_micro": lambda w: sklearn_metrics.f1_score(LABELS, LABEL_SCORES > 0, average="micro", sample_weight=w),
}


@pytest.mark.parametrize("name", sorted(LABEL_ORACLES))
def test_weighted_metrics_of_labels_equal_those_of_scikit_learn(name: str) -> None:
    values = label_metric_loss(name, LABEL_SCORES, LABELS)(WEIGHTS)
    np.testing.assert_allclose(values, [1 - LABEL_ORACLES[name](weights) for weights in WEIGHTS], rtol=1e-9)


def test_a_label_that_does_not_vary_has_no_area_and_does_not_count() -> None:
    targets = np.concatenate([LABELS[:, :1], np.ones((ROWS, 1), int)], axis=1)
    (value,) = label_metric_loss("auc", LABEL_SCORES[:, :2], targets)(np.ones((1, ROWS)))
    assert value == pytest.approx(1 - sklearn_metrics.roc_auc_score(LABELS[:, 0], LABEL_SCORES[:, 0]))
    assert np.isnan(label_metric_loss("auc", LABEL_SCORES[:, 1:2], targets[:, 1:])(np.ones((1, ROWS)))).all()


def test_every_metric_has_an_oracle_and_an_objective() -> None:
    assert set(ORACLES) == set(METRICS)
    assert set(LABEL_ORACLES) == set(LABEL_METRICS)
    assert {f"val_{name}" for name in {**METRICS, **LABEL_METRICS}} == {
        name for name in OBJECTIVES if not is_row_mean(name)
    }


@pytest.mark.parametrize("name", sorted(ORACLES))
def test_weighted_metrics_equal_those_of_scikit_learn(name: str) -> None:
    answers, targets, oracle = ORACLES[name]
    values = metric_loss(name, answers, targets)(WEIGHTS)
    assert values.shape == (len(WEIGHTS),)
    np.testing.assert_allclose(values, [oracle(weights) for weights in WEIGHTS], rtol=1e-9)


@pytest.mark.parametrize("task", sorted({*TASK_METRICS} - {POSITIONS}))  # test_positions.py has the other
def test_equal_weights_give_the_metrics_of_training(task: str) -> None:
    forms = {
        "binary": (SCORES[:, None], BINARY, SCORES, (SCORES > 0).astype(int)),
        "multiclass": (logits := generator.normal(0, 1, (ROWS, 3)), CLASSES, None, logits.argmax(axis=1)),
        "regression": (VALUES, QUANTITIES, None, VALUES),
        "multilabel": (LABEL_SCORES, LABELS, LABEL_SCORES, LABEL_SCORES),
    }
    outputs, targets, scores, answers = forms[task]
    expected = metrics(task, outputs, targets, is_logits=True)
    losses, names = (label_metric_loss, LABEL_METRICS) if task == "multilabel" else (metric_loss, METRICS)
    for name in set(TASK_METRICS[task]) & set(names):
        (loss,) = losses(name, scores if name == "auc" else answers, targets)(np.ones((1, ROWS)))
        value = loss if OBJECTIVES[f"val_{name}"] == "minimize" else 1 - loss
        assert value == pytest.approx(expected[name]), name


def test_a_metric_that_the_weights_leave_undefined_is_nan() -> None:
    only_first = (BINARY == 0).astype(float)[None]
    assert np.isnan(metric_loss("auc", SCORES, BINARY)(only_first)).all()
    assert np.isnan(metric_loss("r2", VALUES, np.ones_like(VALUES))(np.ones((1, ROWS)))).all()
