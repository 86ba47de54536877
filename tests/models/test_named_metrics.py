"""Metrics that a study names equal scikit-learn's and SciPy's, with ties and weights."""

from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as oracle

from nightune.models.networks.named_metrics import Named
from nightune.vocabulary import NAMED_METRICS, POSITIONS, QUANTILE_METRICS, TASK_METRICS

ROWS = 90
generator = np.random.default_rng(3)
TWO = generator.integers(0, 2, ROWS)
LOGIT = np.round(TWO[:, None] - 0.5 + generator.normal(size=(ROWS, 1)), 1)  # with ties
CLASSES = np.arange(ROWS) % 7
LOGITS = np.round(generator.normal(size=(ROWS, 7)) + 1.5 * np.eye(7)[CLASSES], 1)
LABELS = (generator.random((ROWS, 3)) < [0.5, 0.2, 0.8]).astype(np.int64)
LABEL_LOGITS = np.round(LABELS - 0.5 + generator.normal(size=(ROWS, 3)), 1)
QUANTITIES = np.round(generator.normal(20, 2, (ROWS, 2)), 1)
VALUES = np.round(QUANTITIES + generator.normal(0, 2, (ROWS, 2)), 1)
COUNTS = generator.integers(0, 4, ROWS)
WEIGHTS = np.where(np.arange(ROWS) % 6 == 0, 0.0, generator.exponential(1.0, ROWS))

# task → outputs as logits, targets
FORMS: dict[str, tuple[np.ndarray, np.ndarray]] = {
    "binary": (LOGIT, TWO),
    "multiclass": (LOGITS, CLASSES),
    "multilabel": (LABEL_LOGITS, LABELS),
    "regression": (VALUES, QUANTITIES),
}

BY_ROW = [task for task in NAMED_METRICS if task != POSITIONS]  # test_positions.py has the other


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-logits)))


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def probabilities(task: str) -> np.ndarray:
    return softmax(LOGITS) if task == "multiclass" else sigmoid(FORMS[task][0])


def measured(task: str, rows: Any = slice(None), weights: np.ndarray | None = None) -> dict[str, float]:
    outputs, targets = FORMS[task]
    return Named(NAMED_METRICS[task]).values(task, outputs[rows], targets[rows], True, weights)


def expected(task: str, weights: np.ndarray) -> dict[str, float]:
    given: dict[str, Any] = {"sample_weight": weights}
    if task == "regression":
        losses = {
            name: oracle.mean_pinball_loss(QUANTITIES, VALUES, alpha=level, **given)
            for name, level in QUANTILE_METRICS.items()
        }
        return {
            "mape": oracle.mean_absolute_percentage_error(QUANTITIES, VALUES, **given),
            "mae_original": oracle.mean_absolute_error(QUANTITIES, VALUES, **given),
            "rmse_original": oracle.root_mean_squared_error(QUANTITIES, VALUES, **given),
            **losses,
        }
    shares = probabilities(task)
    if task == "binary":
        one = shares[:, 0]
        return {
            "pr_auc": oracle.average_precision_score(TWO, one, **given),
            "mcc": oracle.matthews_corrcoef(TWO, one > 0.5, **given),
            "brier": oracle.brier_score_loss(TWO, one, **given),
            "log_loss": oracle.log_loss(TWO, one, **given),
        }
    if task == "multilabel":
        columns = range(LABELS.shape[1])
        return {
            "pr_auc": oracle.average_precision_score(LABELS, shares, **given),
            "brier": np.mean([oracle.brier_score_loss(LABELS[:, one], shares[:, one], **given) for one in columns]),
            "log_loss": np.mean([oracle.log_loss(LABELS[:, one], shares[:, one], **given) for one in columns]),
        }
    each = [(one == CLASSES, shares[:, one]) for one in range(7)]  # scikit-learn takes no weights one against the rest
    return {
        "auc": np.mean([oracle.roc_auc_score(*pair, **given) for pair in each]),
        "pr_auc": oracle.average_precision_score(CLASSES, shares, **given),
        "mcc": oracle.matthews_corrcoef(CLASSES, LOGITS.argmax(axis=1), **given),
        **{f"top_{k}": oracle.top_k_accuracy_score(CLASSES, LOGITS, k=k, **given) for k in range(2, 7)},
        **dict.fromkeys(("top_7", "top_8", "top_9", "top_10"), 1.0),
        "brier": oracle.brier_score_loss(CLASSES, shares, **given),
        "log_loss": oracle.log_loss(CLASSES, shares, **given),
    }


@pytest.mark.parametrize("task", BY_ROW)
@pytest.mark.parametrize("is_weighted", [False, True])
def test_named_metrics_equal_those_of_scikit_learn(task: str, is_weighted: bool) -> None:
    found = measured(task, weights=WEIGHTS if is_weighted else None)
    assert tuple(found) == NAMED_METRICS[task]
    assert {type(value) for value in found.values()} == {float}
    wanted = expected(task, WEIGHTS if is_weighted else np.ones(ROWS))
    assert {**found, **wanted} == pytest.approx(found, rel=1e-9)
    assert set(found) - set(wanted) <= {"spearman"}


def test_several_classes_are_ranked_one_against_the_rest_as_in_scikit_learn() -> None:
    found = measured("multiclass")["auc"]
    assert found == pytest.approx(oracle.roc_auc_score(CLASSES, softmax(LOGITS), multi_class="ovr"))


@pytest.mark.parametrize("task", BY_ROW)
def test_whole_weights_repeat_rows(task: str) -> None:
    repeated = np.repeat(np.arange(ROWS), COUNTS)
    assert measured(task, weights=COUNTS.astype(np.float32)) == pytest.approx(measured(task, repeated), rel=1e-9)
    if task == "regression":
        rows = [stats.spearmanr(VALUES[repeated, one], QUANTITIES[repeated, one]).statistic for one in range(2)]
        assert measured(task, repeated)["spearman"] == pytest.approx(np.mean(rows))


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_probabilities_give_the_values_of_their_logits(task: str) -> None:
    named = Named(NAMED_METRICS[task])
    found = named.values(task, probabilities(task), FORMS[task][1], False, WEIGHTS)
    assert found == pytest.approx(measured(task, weights=WEIGHTS), rel=1e-9)


def test_two_outputs_of_two_classes_are_as_one() -> None:
    both = np.concatenate([np.zeros_like(LOGIT), LOGIT], axis=1)
    found = Named(NAMED_METRICS["binary"]).values("binary", both, TWO, True, None)
    assert found == pytest.approx(measured("binary"), rel=1e-9)


def test_probabilities_close_to_0_keep_their_order() -> None:
    shares = np.array([[0.8, 0.2 - 3e-9, 1e-9, 2e-9, 0.0, 0.0]])
    named = Named(("top_3",))
    assert [named.values("multiclass", shares, np.array([one]), False, None)["top_3"] for one in (2, 3)] == [0.0, 1.0]


@pytest.mark.parametrize("name", ["mape", "mae_original", "rmse_original", "pinball_0.9"])
def test_errors_are_in_the_units_of_the_data(name: str) -> None:
    description = {"target_scale": {"mean": [20.0, 10.0], "deviation": [2.0, 5.0]}}
    scaled = [(each - [20.0, 10.0]) / [2.0, 5.0] for each in (VALUES, QUANTITIES)]
    found = Named((name,), description).values("regression", *scaled, False, None)
    assert found[name] == pytest.approx(expected("regression", np.ones(ROWS))[name])


def test_a_model_of_quantiles_is_measured_at_the_quantile_of_the_metric() -> None:
    from nightune.models.networks.heads import Head

    outputs = np.concatenate([VALUES[:, :1] - 2, VALUES[:, :1], VALUES[:, :1] + 2], axis=1)
    head = Head("quantities", False, quantiles=(0.1, 0.5, 0.9))
    found = head.metrics("regression", outputs, QUANTITIES[:, :1], WEIGHTS, Named(("pinball_0.9", "mae_original")))
    given = {"sample_weight": WEIGHTS}
    wanted = oracle.mean_pinball_loss(QUANTITIES[:, 0], outputs[:, 2], alpha=0.9, **given)
    assert found["pinball_0.9"] == pytest.approx(wanted)
    assert found["mae_original"] == pytest.approx(oracle.mean_absolute_error(QUANTITIES[:, 0], VALUES[:, 0], **given))


def test_answers_that_are_alike_know_nothing() -> None:
    targets = np.arange(6.0)[:, None]
    assert Named(("spearman",)).values("regression", np.full((6, 1), 0.1), targets, False, None) == {"spearman": 0.0}
    weights = generator.exponential(1.0, ROWS)
    found = Named(("mcc", "pr_auc")).values("binary", np.full((ROWS, 1), 0.3), TWO, True, weights)
    assert found == pytest.approx({"mcc": 0.0, "pr_auc": np.average(TWO, weights=weights)})


@pytest.mark.parametrize(("name", "value"), [("auc", np.nan), ("pr_auc", 1.0), ("mcc", 0.0)])
def test_rows_of_one_class(name: str, value: float) -> None:
    task = "multiclass" if name == "auc" else "binary"
    outputs, _ = FORMS[task]
    found = Named((name,)).values(task, outputs, np.ones(ROWS), True, None)[name]
    assert found == pytest.approx(value, nan_ok=True)


def test_constant_targets_have_no_rank_correlation_and_rows_without_the_label_no_precision() -> None:
    constant = Named(("spearman",)).values("regression", VALUES, 0 * QUANTITIES, False, None)
    none = Named(("pr_auc",)).values("binary", LOGIT, 0 * TWO, True, None)
    assert np.isnan([*constant.values(), *none.values()]).all()


@pytest.mark.parametrize("task", BY_ROW)
def test_lost_outputs_and_rows_without_weight_have_no_value(task: str) -> None:
    outputs, targets = FORMS[task]
    broken = np.where(np.arange(ROWS)[:, None] == 5, np.inf, outputs)
    for values, weights in ((broken, None), (outputs, np.zeros(ROWS))):
        found = Named(NAMED_METRICS[task]).values(task, values, targets, True, weights)
        assert tuple(found) == NAMED_METRICS[task]
        assert np.isnan(list(found.values())).all()


def test_only_named_metrics_of_the_task_are_computed() -> None:
    assert Named().values("binary", LOGIT, TWO, True, None) == {}
    assert Named.of(["val_mcc", "val_loss", "val_mcc", "val_brier"], "binary", {}).metrics == ("mcc", "brier")
    assert not any(set(NAMED_METRICS[task]) & set(TASK_METRICS[task]) for task in TASK_METRICS)
