"""Snapshots belong to a trial's run: the newest complete one is found, its seconds count, none outlives the trial."""

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightune.models.training.snapshots import EngineSnapshot, Snapshot
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tasks.tracking.trials import snapshots, trial_log
from nightune.tasks.tracking.trials.runs import unfinished_runs
from nightune.tasks.tracking.trials.snapshots import kept_runs
from nightune.tasks.tracking.trials.trial_log import TrialLog
from nightune.tasks.tracking.trials.trials import finished_trials
from nightune.tasks.trial import snapshots as keep_snapshots
from nightune.tasks.trial.limits import TrialLimitError, Watch
from nightune.tasks.trial.snapshots import RunKeeper, SnapshotPlan, plan_snapshots
from nightune.tuning.study.sections import Limits
from nightune.tuning.trial import Status, Trial
from tests.tasks.conftest import result_of


class KillError(BaseException):
    """Stands for the death of the process."""


def snapshot(epochs: int, seconds: float = 0.0) -> Snapshot:
    history = [{"loss": 1.0 / epoch, "val_loss": 0.5} for epoch in range(1, epochs + 1)]
    return Snapshot("fit", EngineSnapshot([np.arange(3.0)], {"cap": 0}), {}, [np.ones(2)], history, seconds)


@pytest.fixture
def log(store: Store, sweep: Sweep, trial: Trial, data: PreparedData) -> TrialLog:
    return TrialLog(store, sweep, trial, {"nightune.engine": "fit"}, data)


@pytest.fixture
def keeper(store: Store, sweep: Sweep, trial: Trial, log: TrialLog) -> Callable[..., RunKeeper]:
    """Make the keeper of a process that finds the existing snapshots."""

    def keeper(
        add_seconds: Callable[[float], None] = lambda seconds: None, plan: SnapshotPlan | None = None
    ) -> RunKeeper:
        return RunKeeper(plan or plan_snapshots(unfinished_runs(store, sweep)), store, trial, log, add_seconds)

    return keeper


def files(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("resume/*"))


def kill_at(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:
    def kill(*arguments: Any) -> None:
        raise KillError

    monkeypatch.setattr(module, name, kill)


def test_the_newest_snapshot_is_read_back_and_is_the_only_one(
    keeper: Callable[..., RunKeeper], store_root: Path
) -> None:
    assert keeper().read() is None
    for epoch in (1, 2, 11):
        keeper().write(snapshot(epoch))
    read = keeper().read()
    assert read is not None
    assert len(read.history) == 11
    assert files(store_root) == ["epoch-0000011.npz"]


def test_a_damaged_newest_snapshot_is_skipped_for_the_older_one_with_a_line_in_the_log(
    keeper: Callable[..., RunKeeper],
    store_root: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    newer = keeper()
    newer.write(snapshot(3))
    with monkeypatch.context() as patch:
        kill_at(patch, snapshots, "delete_artifacts")
        with pytest.raises(KillError):
            newer.write(snapshot(4))
    assert files(store_root) == ["epoch-0000003.npz", "epoch-0000004.npz"]
    (newest,) = store_root.rglob("resume/epoch-0000004.npz")
    newest.write_bytes(newest.read_bytes()[:-1])
    with caplog.at_level(logging.INFO, "nightune"):
        read = keeper().read()
    assert read is not None
    assert len(read.history) == 3
    assert "trial 0 · the snapshot cannot be read: it is damaged" in caplog.text
    assert "trial 0 · resumes after epoch 3" in caplog.text


def test_no_snapshot_file_exists_without_the_tag_that_names_it(
    keeper: Callable[..., RunKeeper], store: Store, sweep: Sweep, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = keeper()
    with monkeypatch.context() as patch:
        kill_at(patch, snapshots, "sync_artifact")
        with pytest.raises(KillError):
            first.write(snapshot(1))
    assert list(kept_runs(store, sweep)) == [trial.key]


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.DIVERGED, Status.STOPPED_EARLY])
def test_no_snapshot_outlives_its_trial_however_the_trial_ends(
    keeper: Callable[..., RunKeeper], log: TrialLog, store: Store, sweep: Sweep, trial: Trial, status: Status
) -> None:
    keeper().write(snapshot(1))
    log.finish(result_of(trial, status=status), None)
    assert files(store.root) == []
    assert kept_runs(store, sweep) == {}


def test_a_kill_while_snapshots_are_deleted_leaves_a_finished_trial(
    keeper: Callable[..., RunKeeper],
    log: TrialLog,
    store: Store,
    sweep: Sweep,
    trial: Trial,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keeper().write(snapshot(1))
    ended = result_of(trial)
    with monkeypatch.context() as patch:
        kill_at(patch, trial_log, "drop_snapshots")
        with pytest.raises(KillError):
            log.finish(ended, None)
    assert list(finished_trials(store, sweep)) == [trial.key]
    snapshots.drop_all_snapshots(store, sweep)
    assert files(store.root) == []


def test_seconds_trained_before_an_interruption_count_against_the_time_limit(keeper: Callable[..., RunKeeper]) -> None:
    keeper().write(snapshot(1, seconds=599.0))
    watch = Watch(Limits(seconds=600))
    keeper(watch.add_seconds).read()
    watch.check()
    again = Watch(Limits(seconds=598))
    resumed = keeper(again.add_seconds)
    resumed.read()
    fresh = Watch(Limits(seconds=598))
    refused = keeper(fresh.add_seconds)
    refused.read()
    refused.refuse("of another training")
    fresh.check()
    with pytest.raises(TrialLimitError, match="time limit"):
        again.check()


def test_the_run_names_the_epoch_after_which_it_was_resumed(
    keeper: Callable[..., RunKeeper], log: TrialLog, store: Store, trial: Trial
) -> None:
    keeper().write(snapshot(2))
    keeper().read()
    run = client(store).get_run(log.finish(result_of(trial), None))
    assert run.data.tags["nightune.resumed_at"] == "2"


def test_a_retry_in_the_same_process_resumes_from_the_snapshot_of_the_first_attempt(
    keeper: Callable[..., RunKeeper],
) -> None:
    first = SnapshotPlan({}, 0.0)  # read before the trial began
    keeper(plan=first).write(snapshot(5))
    read = keeper(plan=first).read()
    assert read is not None
    assert len(read.history) == 5


def test_a_snapshot_is_due_when_the_interval_is_over_or_a_long_training_halts(
    keeper: Callable[..., RunKeeper],
) -> None:
    assert keeper(plan=SnapshotPlan({}, 0.0)).is_due(is_last=False)
    short = keeper(plan=SnapshotPlan({}, math.inf))
    assert not short.is_due(is_last=True)
    keeper(plan=SnapshotPlan({}, 0.0)).write(snapshot(1, seconds=90.0))
    long = keeper(plan=SnapshotPlan({}, math.inf))
    long.read()
    assert (long.resumed, long.inherited) == (1, 0)
    assert long.is_due(is_last=True)
    assert not long.is_due(is_last=False)


def test_the_environment_sets_the_interval_of_snapshots(monkeypatch: pytest.MonkeyPatch) -> None:
    assert keep_snapshots.plan_snapshots({}).seconds == 60.0
    monkeypatch.setenv("NIGHTUNE_SNAPSHOT_SECONDS", "0")
    assert keep_snapshots.plan_snapshots({}).seconds == 0.0
