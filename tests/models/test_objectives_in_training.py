"""Named metrics and a user's metric in trainings with folds, with weights of classes, and with weights of rows."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from sklearn import metrics as oracle

from nightune.models.data.dataset import Dataset, Examples
from nightune.models.engines.make import make_engine
from nightune.models.networks.own_metrics import OwnMetric
from nightune.models.recipe.params import read_recipe
from nightune.models.training.engine import COMPILED_ENGINES, Engine
from nightune.models.training.folds import FoldsEngine
from nightune.models.training.loop import Outcome, train
from nightune.models.training.ranking import ranking_objective
from tests.models.conftest import BACKEND, FEW_RULES

ROWS = 60
PARAMS = {"optimizer": "adam", "learning_rate.peak": 0.05, "model.units": [4], "batch_size.size": 10}
WEIGHTED = PARAMS | {"training.class_weight": {"no": 1.0, "yes": 4.0}}
REPORT = ("val_mcc", "val_pr_auc", "val_brier", "val_log_loss")
ENGINES = tuple(dict.fromkeys(("fit", COMPILED_ENGINES.get(BACKEND, "fit"))))


def profit(y_true: np.ndarray, y_pred: np.ndarray, weights: np.ndarray) -> float:
    return float((weights * (y_pred > 0.5) * (120.0 * y_true - 20.0)).sum())


OWN = OwnMetric("profit", "maximize", Path("own.py"), profit, "weights")
DECISION = {"monitor": "val_profit", "direction": "maximize", "own": OWN, "report": REPORT}


@pytest.fixture(scope="module")
def weighted() -> Dataset:
    """Two classes, rows of different weights, some of them 0."""
    generator = np.random.default_rng(2)
    inputs = generator.normal(size=(ROWS, 3)).astype(np.float32)
    targets = (inputs[:, 0] + 0.7 * generator.normal(size=ROWS) > 0.4).astype(np.int32)
    weights = (generator.integers(0, 5, ROWS) / 2).astype(np.float32)
    parts = [Examples(inputs[part], targets[part], weights=weights[part]) for part in (slice(40), slice(40, None))]
    return Dataset(*parts, cast(Any, parts[1]), "binary", ("no", "yes"), "0" * 16, (), None, {})


@pytest.fixture(scope="module")
def folded(weighted: Dataset) -> Dataset:
    rows, parts = weighted.train, (slice(19), slice(19, 40))
    assert rows.weights is not None
    first, second = (Examples(rows.inputs[part], rows.targets[part], weights=rows.weights[part]) for part in parts)
    return weighted.with_folds([(first, second), (second, first)])


def trained(engine: Any, dataset: Dataset, params: dict[str, Any] = WEIGHTED, **more: Any) -> Outcome:
    options = {"epochs": 4, "seed": 5, **DECISION, **more}
    return train(engine, read_recipe(params), dataset, **options)


def expected(engine: Engine, outcome: Outcome, rows: Examples) -> dict[str, float]:
    """Measure the model of the best epoch by scikit-learn."""
    logits = engine.model(outcome.recipe, outcome.weights).predict(rows.inputs, verbose=0)[:, 0].astype(np.float64)
    share, given = 1 / (1 + np.exp(-logits)), {"sample_weight": rows.weights}
    assert rows.weights is not None
    return {
        "val_profit": profit(rows.targets, share, rows.weights.astype(np.float64)),
        "val_mcc": oracle.matthews_corrcoef(rows.targets, share > 0.5, **given),
        "val_pr_auc": oracle.average_precision_score(rows.targets, share, **given),
        "val_brier": oracle.brier_score_loss(rows.targets, share, **given),
        "val_log_loss": oracle.log_loss(rows.targets, share, **given),
    }


@pytest.mark.parametrize("name", ENGINES)
def test_metrics_count_rows_by_their_weights_and_not_by_those_of_classes(weighted: Dataset, name: str) -> None:
    engine = make_engine(name, weighted, Path(), rules=FEW_RULES)
    outcome = trained(engine, weighted)
    found = {metric: curve[outcome.best_epoch - 1] for metric, curve in outcome.curves.items()}
    wanted = expected(engine, outcome, weighted.validation)
    assert {metric: found[metric] for metric in wanted} == pytest.approx(wanted, rel=1e-4)
    assert outcome.objective == found["val_profit"] == max(outcome.curves["val_profit"])


@pytest.mark.parametrize("name", ENGINES)
def test_metrics_of_folds_are_those_of_their_own_rows_and_the_objective_is_their_mean(
    folded: Dataset, name: str
) -> None:
    engine = make_engine(name, folded, Path(), rules=FEW_RULES)
    folds = cast(Engine, FoldsEngine(engine, [engine.of_fold(fold) for fold in folded.folds]))
    outcome = trained(folds, folded)
    best = outcome.best_epoch - 1
    wanted = expected(folds, outcome, folded.folds[1].validation)  # a trial keeps the model of the last fold
    assert {metric: outcome.curves[f"fold_2/{metric}"][best] for metric in wanted} == pytest.approx(wanted, rel=1e-4)
    for metric in wanted:
        both = np.mean([outcome.curves[f"fold_{number}/{metric}"] for number in (1, 2)], axis=0)
        np.testing.assert_allclose(outcome.curves[metric], both)
    assert outcome.objective == outcome.curves["val_profit"][best]


def test_reported_metrics_change_no_training(weighted: Dataset) -> None:
    loss: dict[str, Any] = {"monitor": "val_loss", "direction": "minimize", "own": None}
    engines = (make_engine("fit", weighted, Path()) for _ in range(2))
    plain, reporting = (
        trained(engine, weighted, **loss, report=report) for engine, report in zip(engines, ((), REPORT), strict=True)
    )
    assert set(reporting.curves) - set(plain.curves) == set(REPORT)
    for name in set(plain.curves) - {"seconds"}:
        assert reporting.curves[name] == plain.curves[name]
    for one, other in zip(plain.weights, reporting.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_ranking_split_is_measured_in_a_metric_of_the_user_by_its_weights(weighted: Dataset) -> None:
    rows = weighted.train
    assert rows.weights is not None
    ranking = Examples(rows.inputs[:15], rows.targets[:15], weights=rows.weights[:15])
    apart = replace(weighted, ranking_apart=ranking)
    engine = make_engine("fit", apart, Path())
    outcome = trained(engine, apart)
    found = ranking_objective(engine, outcome, apart, "val_profit", OWN)
    assert found == pytest.approx(expected(engine, outcome, ranking)["val_profit"])
    assert found != outcome.objective
