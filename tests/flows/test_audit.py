"""Stopped trials trained to the end: beside the sweep, whose record stays as the search saw it."""

from pathlib import Path

import pytest

from nightune.tasks.reporting.sweep_report import SweepReport
from nightune.tuning.trial import Status

pytestmark = pytest.mark.usefixtures("plain_flows", "store_root")

RULE = '[stopping]\nrule = "patience"\npatience = 1\n[search]'
RATES = "learning_rate.peak = { low = 0.5, high = 2.0 }"


def tune(study: Path) -> SweepReport:
    from nightune.flows.tune import tune as flow

    report = flow(study)
    assert isinstance(report, SweepReport)
    return report


@pytest.fixture
def stopping(small_study: Path) -> Path:
    """Six trials of twelve epochs at rates so high that patience stops most of them."""
    text = small_study.read_text().replace("[search]", RULE).replace("epochs = 2", "epochs = 12")
    text = text.replace('learning_rate.peak = { low = 1e-3, high = 1e-1, scale = "log" }', RATES)
    small_study.write_text(text.replace("trials = 4", "trials = 6"))
    return small_study


def test_an_audit_is_trained_once_and_changes_neither_leaderboard_nor_keys(stopping: Path, store_root: Path) -> None:
    import mlflow

    before = tune(stopping)
    halted = [each for each in before.results if each.status is Status.STOPPED_EARLY]
    assert halted
    stopping.write_text(stopping.read_text().replace("epochs = 12", "epochs = 12\naudit = 1"))
    after = tune(stopping)
    assert after.sweep.id == before.sweep.id
    assert after.sweep.study_digest == before.sweep.study_digest
    assert after.results == before.results
    client = mlflow.MlflowClient(f"sqlite:///{store_root}/mlflow.db")
    found = client.search_runs([before.sweep.experiment_id], "tags.`nightune.kind` = 'audit'")
    by_parent = {run.data.tags["mlflow.parentRunId"]: run for run in found}
    assert by_parent.keys() == {each.run_id for each in halted}
    for each in halted:
        audit = by_parent[each.run_id]
        assert audit.data.tags["nightune.status"] in ("completed", "diverged")
        assert audit.data.metrics["epochs"] == 12 or audit.data.tags["nightune.status"] == "diverged"
        assert audit.data.tags["nightune.seed"] == str(each.trial.seed)
        long, short = (
            sorted((point.step, point.value) for point in client.get_metric_history(run, "val_loss"))
            for run in (audit.info.run_id, each.run_id)
        )
        assert long[: len(short)] == short  # a continuation of the same training
        assert not client.list_artifacts(audit.info.run_id, "checkpoint")
    metrics = client.get_run(before.sweep.run_id).data.metrics
    assert metrics["audited_trials"] == len(halted)
    assert metrics["stopping_regret"] >= 0
    tune(stopping)
    assert len(client.search_runs([before.sweep.experiment_id], "tags.`nightune.kind` = 'audit'")) == len(halted)
