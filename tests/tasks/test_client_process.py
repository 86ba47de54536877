"""Calls of background writes by another process: the same records, errors and number of runs as without it."""

import errno
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.tracking.store import client_process as module
from nightune.tasks.tracking.store import retry
from nightune.tasks.tracking.store.background_writer import BackgroundWriter
from nightune.tasks.tracking.store.client_process import ClientProcess, client_process
from nightune.tasks.tracking.store.errors import RefusedRequestError
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tasks.tracking.trials.trial_log import TrialLog
from nightune.tuning.trial import Trial
from tests.tasks.conftest import result_of

TIMEOUT = 60.0
OWN = ("nightune.trial_key", "nightune.trial_number", "nightune.request", "mlflow.runName")  # of each run


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start the process after the first write, however few are left."""
    monkeypatch.setattr(module, "SAMPLE", 1)
    monkeypatch.setattr(module, "START_SECONDS", 0.0)
    monkeypatch.setattr(module, "LEAST_SHARE", 0.0)
    monkeypatch.setattr(module, "processor_count", lambda: 2)
    monkeypatch.setattr(retry, "FIRST_PAUSE_SECONDS", 0.01)


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ClientProcess]]:
    started: list[ClientProcess] = []

    class Noted(ClientProcess):
        def __init__(self, tracking_uri: str) -> None:
            super().__init__(tracking_uri)
            started.append(self)

    monkeypatch.setattr(module, "ClientProcess", Noted)
    yield started
    assert all(each.process.poll() is not None for each in started)


def wait_for_start(processes: list[ClientProcess]) -> ClientProcess:
    give_up_at = time.monotonic() + TIMEOUT
    while not (processes and processes[0].is_ready):
        assert time.monotonic() < give_up_at
        time.sleep(0.01)
    return processes[0]


@contextmanager
def writing_there(
    store: Store, processes: list[ClientProcess]
) -> Iterator[tuple[BackgroundWriter[Any], ClientProcess]]:
    """A writer after its first write, which returned None: the other process makes its further calls."""
    with client_process(store.tracking_uri, 4), BackgroundWriter[Any]() as writer:
        writer.submit(lambda: None)
        writer.wait()
        yield writer, wait_for_start(processes)


def written(store: Store, sweep: Sweep, data: PreparedData, trial: Trial, number: int) -> str:
    log = TrialLog(store, sweep, replace(trial, number=number, key=f"{number:016x}"), {"place": "hall"}, data)
    log.log_epoch(1, {"loss": 0.5, "val_loss": 0.75})
    log.log_epoch(2, {"loss": float("inf"), "val_loss": 0.25})
    return log.finish(result_of(trial), None)


def content(run: Any) -> tuple[object, ...]:
    tags = {name: value for name, value in run.data.tags.items() if name not in OWN}
    inputs = [(each.dataset.digest, each.dataset.profile) for each in run.inputs.dataset_inputs]
    return run.info.status, run.data.params, {**run.data.metrics, "loss": None}, tags, inputs


@pytest.mark.usefixtures("always")
def test_a_record_is_the_same_as_without_the_process(
    store: Store, sweep: Sweep, data: PreparedData, trial: Trial, processes: list[ClientProcess]
) -> None:
    here, made = written(store, sweep, data, trial, 0), list[str]()
    with writing_there(store, processes) as (writer, process):
        process.call = lambda name, *values, **options: (  # type: ignore[method-assign]
            made.append(name) or ClientProcess.call(process, name, *values, **options)
        )
        writer.submit(lambda: written(store, sweep, data, trial, 1))
        there = writer.results()[-1]
    assert made == ["create_run", "log_inputs", "log_batch", "set_terminated"]
    runs = [client(store).get_run(run_id) for run_id in (here, there)]
    assert content(runs[0]) == content(runs[1])
    histories = [client(store).get_metric_history(each, "val_loss") for each in (here, there)]
    assert [[(each.step, each.value) for each in history] for history in histories] == [[(1, 0.75), (2, 0.25)]] * 2


@pytest.mark.usefixtures("always")
def test_a_process_that_is_killed_loses_no_record_and_doubles_none(
    store: Store, sweep: Sweep, data: PreparedData, trial: Trial, processes: list[ClientProcess]
) -> None:
    with writing_there(store, processes) as (writer, process):
        receive = process.receive

        def killed_after_the_call() -> Any:
            answer = receive()
            process.process.kill()
            raise EOFError(answer)

        process.receive = killed_after_the_call  # type: ignore[method-assign]
        for number in (0, 1, 2):
            writer.submit(partial(written, store, sweep, data, trial, number))
        assert len({*writer.results()} - {None}) == 3
    runs = client(store).search_runs([sweep.experiment_id], "tags.`nightune.kind` = 'trial'")
    assert len(runs) == 3
    assert {run.info.status for run in runs} == {"FINISHED"}


@pytest.mark.usefixtures("always")
def test_a_process_that_is_killed_between_two_writes_ends_no_sweep(
    store: Store, sweep: Sweep, processes: list[ClientProcess]
) -> None:
    with writing_there(store, processes) as (writer, process):
        process.process.kill()
        process.process.wait()
        writer.submit(lambda: client(store).set_tag(sweep.run_id, "place", "hall"))
        writer.wait()
    assert client(store).get_run(sweep.run_id).data.tags["place"] == "hall"


@pytest.mark.usefixtures("always")
def test_a_run_is_created_once_where_the_process_does_not_hear_the_server(
    store: Store, sweep: Sweep, data: PreparedData, trial: Trial, processes: list[ClientProcess]
) -> None:
    with writing_there(store, processes) as (writer, process):
        receive, lost = process.receive, [ConnectionResetError("the answer is lost")]
        process.receive = lambda: (  # type: ignore[method-assign]
            (False, lost.pop()) if receive() and lost else (True, None)
        )
        writer.submit(lambda: written(store, sweep, data, trial, 1))
        run_id = writer.results()[-1]
    runs = client(store).search_runs([sweep.experiment_id], "tags.`nightune.kind` = 'trial'")
    assert [run.info.run_id for run in runs] == [run_id]


@pytest.mark.usefixtures("always")
def test_a_write_that_outlives_the_block_is_made_here(
    store: Store, sweep: Sweep, processes: list[ClientProcess]
) -> None:
    on_demand = module.OnDemand(store.tracking_uri, 3)
    on_demand.count(1.0)
    process = wait_for_start(processes)
    on_demand.close()
    with pytest.raises(module.LostProcessError):
        process.call("set_tag", sweep.run_id, "place", "hall")
    on_demand.count(1.0)
    assert processes == [process]


@pytest.mark.usefixtures("always")
def test_an_error_is_the_one_that_mlflow_raises_here(store: Store, processes: list[ClientProcess]) -> None:
    with writing_there(store, processes) as (writer, _):
        writer.submit(lambda: client(store).set_terminated("0" * 32))
        with pytest.raises(RefusedRequestError, match="0" * 32):
            writer.results()


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("error", [BlockingIOError(errno.EAGAIN, "busy"), RuntimeError("can't start new thread")])
def test_where_no_process_can_be_started_the_thread_writes_on(
    store: Store, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refused(*_values: Any, **_options: Any) -> Any:
        raise error

    monkeypatch.setattr(sys, "path", [*sys.path, Path("models")])
    monkeypatch.setattr(subprocess, "Popen", refused)
    with client_process(store.tracking_uri, 3), BackgroundWriter[int]() as writer:
        for number in range(3):
            writer.submit(partial(int, number))
        assert writer.results() == [0, 1, 2]


def test_few_writes_and_rare_ones_start_no_process(
    store: Store, processes: list[ClientProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for trials, interval, starts in ((24, 0.1, 0), (200, 1.0, 0), (200, 0.1, 1)):
        on_demand = module.OnDemand(store.tracking_uri, trials)
        for _ in range(20):
            now[0] += interval
            on_demand.count(0.03)
        assert len(processes) == starts
        on_demand.close()


def test_a_password_is_not_in_the_command(processes: list[ClientProcess]) -> None:
    process = module.ClientProcess("postgresql://me:secret@nowhere/none")
    command = process.process.args
    process.close()
    assert "secret" not in str(command)
    assert processes == [process]
