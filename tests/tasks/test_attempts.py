"""Fencing: of two attempts at one trial, one finishes the run, and there is one run."""

from pathlib import Path
from typing import Any

import pytest

from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.errors import RefusedRequestError
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tasks.tracking.trials import trial_log as module
from nightune.tasks.tracking.trials.attempts import Attempt, OvertakenError, run_of_trial
from nightune.tasks.tracking.trials.rungs import results_of
from nightune.tasks.tracking.trials.trial_log import TrialLog
from nightune.tasks.tracking.trials.trials import finished_trials, reconcile
from nightune.tuning.trial import Trial
from tests.tasks.conftest import result_of

OLD, NEW = Attempt("flow-1", 1), Attempt("flow-1", 2)


class Attempts:
    """Logs of one trial by several attempts."""

    def __init__(self, store: Store, sweep: Sweep, trial: Trial, data: PreparedData) -> None:
        self.store, self.sweep, self.trial, self.data = store, sweep, trial, data

    def log(self, attempt: Attempt | None) -> TrialLog:
        """Return a log that has written nothing."""
        return TrialLog(self.store, self.sweep, self.trial, {}, self.data, attempt=attempt)

    def begun(self, attempt: Attempt | None) -> TrialLog:
        """Return a log that has written its first epoch, so that it has taken the run."""
        log = self.log(attempt)
        log.log_epoch(1, {"loss": 0.5})
        log._flush([], [])
        return log

    def finish(self, log: TrialLog) -> str:
        log.log_epoch(2, {"loss": 0.25})
        return log.finish(result_of(self.trial), None)

    @property
    def losses(self) -> list[tuple[int, float]]:
        run = run_of_trial(self.store, self.sweep, self.trial.key)
        assert run is not None
        points = client(self.store).get_metric_history(run.info.run_id, "loss")
        return [(point.step, point.value) for point in points]


@pytest.fixture
def attempts(store: Store, sweep: Sweep, trial: Trial, data: PreparedData) -> Attempts:
    return Attempts(store, sweep, trial, data)


def test_the_older_attempt_abandons_and_the_newer_one_finishes_the_same_run(attempts: Attempts) -> None:
    old = attempts.begun(OLD)
    new = attempts.begun(NEW)
    with pytest.raises(OvertakenError):
        attempts.finish(old)
    old.abandon()  # must not close the run of the newer one
    run = run_of_trial(attempts.store, attempts.sweep, attempts.trial.key)
    assert run is not None
    assert run.info.status == "RUNNING"
    assert attempts.finish(new) == run.info.run_id
    assert list(finished_trials(attempts.store, attempts.sweep)) == [attempts.trial.key]
    assert attempts.losses == [(1, 0.5), (2, 0.25)]


@pytest.mark.parametrize("is_finished", [False, True])
@pytest.mark.parametrize("write", ["epoch", "snapshot"])
def test_the_older_attempt_writes_no_epoch_into_the_run_that_was_taken(
    attempts: Attempts, write: str, is_finished: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    old, new = attempts.begun(OLD), attempts.begun(NEW)
    if is_finished:
        attempts.finish(new)
    before = attempts.losses
    if write == "snapshot":
        old.log_epoch(3, {"loss": 9.0})
        with pytest.raises(OvertakenError):
            old.keep(tmp_path / "state", 3)
    else:
        monkeypatch.setattr(module, "FLUSH_SECONDS", -1.0)
        with pytest.raises(OvertakenError):
            old.log_epoch(3, {"loss": 9.0})
    assert attempts.losses == before


def test_an_older_attempt_takes_no_run_of_a_newer_one(attempts: Attempts) -> None:
    new = attempts.begun(NEW)
    with pytest.raises(OvertakenError):
        attempts.begun(OLD)
    attempts.finish(new)


@pytest.mark.parametrize("attempt", [OLD, NEW])
def test_a_finished_trial_is_not_written_again(attempts: Attempts, attempt: Attempt) -> None:
    attempts.finish(attempts.begun(OLD))
    with pytest.raises(OvertakenError):
        attempts.begun(attempt)
    assert attempts.losses == [(1, 0.5), (2, 0.25)]


def test_a_worker_abandons_what_the_next_flow_has_closed(attempts: Attempts) -> None:
    cut_off = attempts.begun(OLD)
    assert reconcile(attempts.store, attempts.sweep.experiment_id) == 1
    with pytest.raises(OvertakenError):
        attempts.finish(cut_off)
    assert finished_trials(attempts.store, attempts.sweep) == {}
    attempts.finish(attempts.begun(Attempt("flow-2", 1)))
    assert attempts.losses == [(1, 0.5), (2, 0.25)]


@pytest.mark.parametrize("newer", [None, Attempt("flow-2", 1)])
def test_a_worker_takes_no_run_that_another_flow_trains(attempts: Attempts, newer: Attempt | None) -> None:
    log = attempts.begun(newer)
    with pytest.raises(OvertakenError):
        attempts.begun(NEW)
    attempts.finish(log)


def test_results_are_read_by_the_keys_of_trials(attempts: Attempts) -> None:
    store, sweep, trial = attempts.store, attempts.sweep, attempts.trial
    assert results_of(store, sweep, [trial], epochs=2) == {}
    log = attempts.begun(NEW)
    assert results_of(store, sweep, [trial], epochs=2) == {}
    attempts.finish(log)
    assert results_of(store, sweep, [trial], epochs=2)[trial.key].objective == result_of(trial).objective


@pytest.mark.parametrize("reason", ["UNIQUE constraint failed: datasets.digest", "no such experiment"])
def test_the_data_is_recorded_though_another_worker_records_it_at_the_same_time(
    reason: str, attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow_client, asked = client(attempts.store), list[str]()

    class Racing:
        def log_inputs(self, run_id: str, inputs: Any) -> None:
            asked.append(run_id)
            if len(asked) == 1:
                raise RefusedRequestError(reason)
            mlflow_client.log_inputs(run_id, inputs)

        def __getattr__(self, name: str) -> Any:
            return getattr(mlflow_client, name)

    monkeypatch.setattr(module, "client", lambda _store: Racing())
    if "UNIQUE" not in reason:
        with pytest.raises(RefusedRequestError, match="no such"):
            attempts.begun(OLD)
        return
    run_id = attempts.finish(attempts.begun(OLD))
    assert len(mlflow_client.get_run(run_id).inputs.dataset_inputs) == 1


@pytest.mark.parametrize(("first", "second"), [(OLD, NEW), (NEW, OLD)])
def test_of_two_attempts_that_create_a_run_at_once_the_newer_one_has_the_only_run(
    attempts: Attempts, first: Attempt, second: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One hangs between its search, which finds no run, and its creation."""
    logs = {attempt: attempts.log(attempt) for attempt in (first, second)}
    for log in logs.values():
        monkeypatch.setattr(log, "_found", lambda: None)
        log.log_epoch(1, {"loss": 0.5})
    overtaken = []
    for attempt, log in logs.items():
        try:
            log.open()
        except OvertakenError:
            overtaken.append(attempt)
    assert overtaken == ([OLD] if first is NEW else [])
    if not overtaken:
        with pytest.raises(OvertakenError):
            attempts.finish(logs[OLD])
    run_id = attempts.finish(logs[NEW])
    runs = client(attempts.store).search_runs([attempts.sweep.experiment_id], f"tags.`{names.TRIAL_KEY}` != ''")
    assert [run.info.run_id for run in runs] == [run_id]
    assert attempts.losses == [(1, 0.5), (2, 0.25)]
