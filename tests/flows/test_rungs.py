"""Successive halving from file to leaderboard: the best of a rung continue in their own runs."""

from pathlib import Path
from typing import Any

import pytest

from nightune.tasks.reporting.sweep_report import SweepReport
from nightune.tuning.trial import Status

pytestmark = pytest.mark.usefixtures("plain_flows", "store_root")

HALVING = """method = "successive_halving"
trials = 4
epochs = 8
smallest_epochs = 2
"""


@pytest.fixture
def halving(small_study: Path) -> Path:
    """Four trials of 2 epochs, two of 4, one of 8, on a schedule that looks ahead to the whole budget."""
    text = small_study.read_text().replace('method = "random"\ntrials = 4\nepochs = 2\n', HALVING)
    text = text.replace("batch_size.size = 30", 'batch_size.size = 30\nlearning_rate.schedule = "cosine"')
    small_study.write_text(text)
    return small_study


def tune(study: Path) -> SweepReport:
    from nightune.flows.tune import tune as flow

    report = flow(study, engine="fit")
    assert isinstance(report, SweepReport)
    return report


def points(store: Path, report: SweepReport, name: str) -> dict[int, list[tuple[int, float]]]:
    """A metric's points by trial, as plain MLflow has them: (step, value)."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{store}/mlflow.db")
    return {
        result.trial.number: sorted((each.step, each.value) for each in client.get_metric_history(result.run_id, name))
        for result in report.results
    }


def test_the_best_of_a_rung_continue_also_after_a_stop_and_each_has_one_curve(
    halving: Path, store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt_at_epoch(6, patch)
        with pytest.raises(KeyboardInterrupt):
            tune(halving)
    report = tune(halving)
    assert report.mattered is not None
    assert {each.name: (each.share, each.trials) for each in report.mattered.dimensions} == {
        "learning_rate.peak": (None, 4),
        "optimizer": (None, 4),
    }
    curves, ended = points(store_root, report, "val_loss"), points(store_root, report, "objective")
    halving.write_text(halving.read_text().replace(HALVING, 'method = "random"\ntrials = 4\nepochs = 8\n'))
    monkeypatch.setenv("NIGHTUNE_STORE", str(store_root.parent / "full"))
    full = tune(halving)
    assert {result.trial.key for result in full.results} == {result.trial.key for result in report.results}
    whole = points(store_root.parent / "full", full, "val_loss")
    epochs = trained_epochs(whole)
    for result in report.results:
        number = result.trial.number
        assert result.epochs == epochs[number]
        assert result.status is (Status.COMPLETED if result.epochs == 8 else Status.NOT_PROMOTED)
        assert curves[number] == whole[number][: result.epochs]
        assert [step for step, _ in ended[number]] == [rung for rung in (2, 4, 8) if rung <= result.epochs]


def interrupt_at_epoch(epoch: int, patch: pytest.MonkeyPatch) -> None:
    """Press Ctrl-C in the first training that gets so far, in any engine."""
    from nightune.models.training import loop

    run_some = loop._run_some

    def run_or_stop(engine: Any, state: Any, controller: Any, plan: Any, until: int) -> Any:
        if plan.epoch == epoch:
            raise KeyboardInterrupt
        return run_some(engine, state, controller, plan, until)

    patch.setattr(loop, "_run_some", run_or_stop)


def trained_epochs(curves: dict[int, list[tuple[int, float]]]) -> dict[int, int]:
    """How long each trial should train, by the best loss of the full curves at each rung."""

    def best(number: int, rung: int) -> float:
        return min(value for _, value in curves[number][:rung])

    second = sorted(curves, key=lambda number: best(number, 2))[:2]
    third = min(second, key=lambda number: best(number, 4))
    return dict.fromkeys(curves, 2) | dict.fromkeys(second, 4) | {third: 8}
