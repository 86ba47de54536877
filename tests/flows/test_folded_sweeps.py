"""A study with folds from file to champion: one run a trial, a curve for each fold, a champion trained on all rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightune.tasks.check_study import check_study
from nightune.tasks.load_study import load_study
from nightune.tasks.promote_model import Promotion
from nightune.tasks.reporting.sweep_report import SweepReport
from nightune.tuning.trial import Status

pytestmark = pytest.mark.usefixtures("plain_flows", "store_root", "opened_here")

STUDY = """
question = "Which rate is best on flowers?"
seed = 11
[data]
source = "iris"
split = { test = 0.4, folds = 3 }
[model]
architecture = "mlp"
units = [[8]]
[space]
optimizer = "adam"
learning_rate.peak = { low = 1e-2, high = 1e-1, scale = "log" }
batch_size.size = 15
[search]
method = "successive_halving"
trials = 4
epochs = 12
smallest_epochs = 6
[confirmation]
finalists = 1
replicates = 2
[promotion]
replicates = 3
"""


def tune(study: Path) -> SweepReport:
    from nightune.flows.tune import tune as flow

    report = flow(study, engine="compiled")
    assert isinstance(report, SweepReport)
    return report


def interrupt_at_training(number: int, patch: pytest.MonkeyPatch) -> None:
    """Press Ctrl-C when the training of this number begins, those of folds counted."""
    from nightune.models.engines.compiled.engine import CompiledEngine

    start, started = CompiledEngine.start, []

    def start_or_stop(engine: Any, recipe: Any, seeds: Any) -> Any:
        started.append(engine)
        if len(started) == number:
            raise KeyboardInterrupt
        return start(engine, recipe, seeds)

    patch.setattr(CompiledEngine, "start", start_or_stop)


def test_a_study_with_folds_is_halved_resumed_confirmed_and_promoted(
    tmp_path: Path, store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    from nightune.flows.promote import promote

    study = tmp_path / "flowers.toml"
    study.write_text(STUDY)
    check = check_study(load_study(study))
    assert check.folds == [60, 60, 60]
    assert check.largest_cost_epochs == 3 * (4 * 6 + 2 * 6)
    with monkeypatch.context() as patch:
        interrupt_at_training(8, patch)
        with pytest.raises(KeyboardInterrupt):
            tune(study)
    report = tune(study)
    assert report.sweep.has_folds
    client = mlflow.MlflowClient(f"sqlite:///{store_root}/mlflow.db")
    for result in report.results:
        run = client.get_run(result.run_id)
        names = ["val_loss", *(f"fold_{number}/val_loss" for number in (1, 2, 3))]
        points = {name: client.get_metric_history(result.run_id, name) for name in names}
        assert all([each.step for each in held] == [*range(1, result.epochs + 1)] for held in points.values())
        best = [points[name][result.best_epoch - 1].value for name in names]
        assert result.objective == pytest.approx(best[0]) == pytest.approx(np.mean(best[1:]))
        error = np.std(best[1:], ddof=1) / np.sqrt(3)
        assert run.data.metrics["objective_standard_error"] == pytest.approx(error)
        assert run.data.tags["nightune.trained_on"] == "fold 3"
    assert sorted(result.epochs for result in report.results) == [6, 6, 12, 12]
    assert {result.status for result in report.results} == {Status.COMPLETED, Status.NOT_PROMOTED}
    promotion = promote(study)
    assert isinstance(promotion, Promotion)
    assert promotion.version == 1
    replicates = client.search_runs(
        [report.sweep.experiment_id], "tags.`nightune.kind` = 'replicate'", order_by=["start_time"]
    )
    assert len(replicates) == 3
    for run in replicates:
        assert run.data.tags["nightune.trained_on"].startswith("all rows")
        assert len(client.get_metric_history(run.info.run_id, "all_rows/loss")) == run.data.metrics["epochs"]
    assert promotion.verdict.test_reads == 1
    assert promotion.verdict.test_metrics["accuracy"] > 0.8
