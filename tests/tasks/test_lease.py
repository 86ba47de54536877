"""Machines that share a tracking server: one runs a study, and the lease of a dead one expires."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict

import pytest

from nightune.tasks.tracking.store.errors import StudyBusyError
from nightune.tasks.tracking.store.lease import Lease, Pace, read_lease, study_lease
from nightune.tasks.tracking.store.names import LEASE
from nightune.tasks.tracking.store.store import Store, client, study_experiment

QUICK = Pace(beat=0.1, expiry=5.0, settling=0.2)


@pytest.fixture
def experiment(store: Store) -> str:
    return study_experiment(store, "flowers")


def leave_lease(store: Store, experiment: str, **changes: object) -> Lease:
    values = {"token": "theirs", "host": "other", "process": 1, "beat": time.time()} | changes
    lease = Lease(**values)  # type: ignore[arg-type]
    client(store).set_experiment_tag(experiment, LEASE, json.dumps(asdict(lease)))
    return lease


def test_a_lease_is_held_renewed_and_released(store: Store, experiment: str) -> None:
    with study_lease(client(store), experiment, "flowers", QUICK):
        first = read_lease(client(store), experiment)
        assert first is not None
        assert (first.host, first.process) == (socket.gethostname(), os.getpid())
        deadline = time.monotonic() + 20
        while read_lease(client(store), experiment) == first:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert read_lease(client(store), experiment) is None


def test_a_study_in_use_on_another_machine_is_refused(store: Store, experiment: str) -> None:
    theirs = leave_lease(store, experiment)
    with pytest.raises(StudyBusyError, match=r"flowers: another sweep.*process 1 on other"):
        study_lease(client(store), experiment, "flowers", QUICK).__enter__()
    assert read_lease(client(store), experiment) == theirs


def test_a_lease_without_heartbeats_expires_and_the_wait_is_said(
    store: Store, experiment: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "nightune")
    leave_lease(store, experiment, beat=time.time() - 60)
    with study_lease(client(store), experiment, "flowers", QUICK):
        assert "process 1 on other held" in caplog.text


def test_a_holder_with_a_wrong_clock_that_sends_heartbeats_is_alive(store: Store, experiment: str) -> None:
    leave_lease(store, experiment, beat=time.time() - 3600)
    later = threading.Timer(0.05, leave_lease, (store, experiment), {"beat": time.time() - 3599})
    later.start()
    with pytest.raises(StudyBusyError):
        study_lease(client(store), experiment, "flowers", QUICK).__enter__()
    later.join()


def test_a_dead_process_of_this_machine_holds_no_lease(store: Store, experiment: str) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    leave_lease(store, experiment, host=socket.gethostname(), process=ended.pid)
    with study_lease(client(store), experiment, "flowers", QUICK):
        pass


def test_the_last_of_two_simultaneous_writers_keeps_the_lease(store: Store, experiment: str) -> None:
    slow = Pace(beat=60, expiry=120, settling=1.0)
    other = threading.Timer(0.3, leave_lease, (store, experiment))
    other.start()
    with pytest.raises(StudyBusyError, match="at the same moment"):
        study_lease(client(store), experiment, "flowers", slow).__enter__()
    other.join()


@pytest.fixture
def restored_signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("started_with", ["a terminal", "&"])
def test_a_holder_that_lost_its_lease_stops(
    store: Store, experiment: str, started_with: str, restored_signals: None
) -> None:
    if started_with == "&":
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))  # as the command line does
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def hold() -> None:
        with study_lease(client(store), experiment, "flowers", QUICK):
            leave_lease(store, experiment, token="thief")
            time.sleep(20)

    with pytest.raises(KeyboardInterrupt):
        hold()
    theirs = read_lease(client(store), experiment)
    assert theirs is not None
    assert theirs.token == "thief"
