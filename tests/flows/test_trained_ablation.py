"""The trained ablation path: runs of their own kind under the sweep, resumed after a stop, in no leaderboard."""

from pathlib import Path
from typing import Any

import pytest

from nightune.tasks.reporting.sweep_report import SweepReport

pytestmark = pytest.mark.usefixtures("plain_flows", "store_root")


def test_a_path_is_trained_once_and_counts_in_no_leaderboard(
    small_study: Path, store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nightune.flows.ablate import ablate
    from nightune.flows.tune import tune
    from nightune.tasks import train_ablation
    from nightune.tasks.load_study import load_study
    from nightune.tasks.reporting.night.ablation_section import Ablation
    from nightune.tasks.reporting.night.read_night import read_night
    from nightune.tasks.tracking.store.errors import StoreError
    from nightune.tasks.tracking.store.store import open_existing_store
    from nightune.tasks.tracking.sweeps.find_sweeps import find_sweep
    from nightune.tasks.tracking.trials.damages import damaged_runs
    from nightune.tasks.tracking.trials.trials import finished_trials
    from nightune.tasks.trial.trial_runner import TrialRunner
    from nightune.tuning.analysis.ablation import AblationPath, AblationStep, Expected, of_space
    from nightune.tuning.analysis.changes import Change

    small_study.write_text(small_study.read_text() + "\n[confirmation]\nfinalists = 1\nreplicates = 2\n")
    report = tune(small_study, engine="fit")
    assert isinstance(report, SweepReport)
    with pytest.raises(StoreError, match="no ablation path"):
        ablate(small_study)  # of four trials

    winner = of_space(load_study(small_study).space, report.results[0].trial.params)
    start = {**winner, "learning_rate.peak": 0.002}
    number = Expected(0.5, 0.4, 0.6)
    step = AblationStep(
        (Change("learning_rate.peak", 0.002, winner["learning_rate.peak"]),), winner, number, number, True
    )
    path = AblationPath(start, number, (step,), 0.9, 0.1, 4)
    monkeypatch.setattr(train_ablation, "ablations", lambda _: [Ablation("ablation-default", "the default", path)])
    once, begun = TrialRunner._train, []

    def stopped_at_the_second(runner: Any, trial: Any, *rest: Any) -> Any:
        begun.append(trial.replicate)
        if len(begun) == 2:
            raise KeyboardInterrupt
        return once(runner, trial, *rest)

    monkeypatch.setattr(TrialRunner, "_train", stopped_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        ablate(small_study)
    assert ablate(small_study) == 1  # the winner's configuration has its replicates
    assert begun == [1, 2, 2]
    assert ablate(small_study) == 0

    store = open_existing_store(store_root, None)
    sweep = find_sweep(store, "flowers", None)
    trained = finished_trials(store, sweep, "ablation")
    assert sorted(each.trial.replicate for each in trained.values()) == [1, 2]
    assert {each.trial.params["learning_rate.peak"] for each in trained.values()} == {0.002}
    assert {each.trial.step for each in trained.values()} == {0}
    assert len({each.trial.seed for each in trained.values()}) == 2
    assert set(finished_trials(store, sweep)) == {each.trial.key for each in report.results}
    assert len(finished_trials(store, sweep, "replicate")) == 2
    assert list(damaged_runs(store, sweep.experiment_id)) == []
    check_costs(store, sweep, [each.run_id for each in trained.values()])
    night = read_night(store, "flowers", sweep)
    assert (len(night.trials), len(night.replicates), len(night.ablation)) == (4, 2, 2)


def check_costs(store: Any, sweep: Any, run_ids: list[str]) -> None:
    """The ledger has the time of the trainings, the interrupted one included, and the store none of their models."""
    from nightune.phases import ABLATION
    from nightune.tasks.tracking.store.store import client
    from nightune.tasks.tracking.sweeps.ledgers import read_ledger

    ledger = read_ledger(store, sweep)
    assert ledger is not None
    assert [each.command.partition(" ")[0] for each in ledger.sessions] == ["tune", "report", "report"]
    assert [each.replicate for each in ledger.trainings(ABLATION)] == [1, 2, 2]
    assert not any(client(store).list_artifacts(each, "checkpoint") for each in run_ids)
