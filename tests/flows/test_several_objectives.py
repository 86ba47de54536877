"""A study of several objectives from its file to the leaderboard's front."""

from pathlib import Path

import pytest

from nightune.tasks.reporting.sweep_report import SweepReport
from nightune.tasks.tracking.store.store import client, open_store
from tests.flows.conftest import SMALL_STUDY

pytestmark = pytest.mark.usefixtures("plain_flows", "store_root")

OWN = """
def spread(y_true, y_pred):
    return float(y_pred.max(axis=1).mean())
"""
KEYS = """
[objective]
metrics = ["val_accuracy", "val_mcc", "own.py:spread", "size_mb", "parameters", "latency_ms"]
directions = ["maximize", "maximize", "maximize", "minimize", "minimize", "minimize"]
"""


def tune(study: Path, text: str, **options: object) -> SweepReport:
    from nightune.flows.tune import tune as flow

    study.write_text(text)
    report = flow(study, engine="fit", **options)
    assert isinstance(report, SweepReport)
    return report


def test_each_trial_has_all_objectives_and_the_sweep_its_front(
    small_study: Path, store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nightune.models.networks import model_costs

    monkeypatch.setattr(model_costs, "cpu_latency_ms", lambda *_: 1.5)
    monkeypatch.setattr("nightune.tuning.study.budgets.ROUND", 4)
    (small_study.parent / "own.py").write_text(OWN)
    text = SMALL_STUDY.partition("[objective]")[0].replace("units = [[4]]", "units = [[4], [8]]") + KEYS
    text = text.replace('method = "random"\ntrials = 4', 'method = "gp"\ntrials = 6')
    report = tune(small_study, text)
    names = ["val_mcc", "val_spread", "size_mb", "parameters", "latency_ms"]
    assert [name for name, _ in report.sweep.further] == names
    assert all(list(each.further) and set(each.further) == set(names) for each in report.results)
    runs = client(open_store(store_root))
    for each in report.results:
        run = runs.get_run(each.run_id).data
        curve = runs.get_metric_history(each.run_id, "val_mcc")
        best = next(point.value for point in curve if point.step == each.best_epoch)
        assert run.metrics["objective.val_mcc"] == each.further["val_mcc"] == best
        assert 1 / 3 <= each.further["val_spread"] <= 1
        assert each.further["parameters"] in (35.0, 67.0)
        assert each.further["latency_ms"] == 1.5
    sweep = runs.get_run(report.sweep.run_id).data
    assert sweep.metrics["front_trials"] == len(report.front) > 0
    assert 0 <= sweep.metrics["hypervolume"] <= 1
    assert tune(small_study, text).results == report.results
