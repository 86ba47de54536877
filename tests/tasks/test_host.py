"""A host and its training process: one that hangs is killed, and its death is reported with the trial in training."""

import pickle
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import psutil
import pytest

from nightune.tasks.trial.crash_log import open_crash_log
from nightune.tasks.workers import host as module
from nightune.tasks.workers.host import Died, Host, Sending, Tracking, place_of
from nightune.tasks.workers.marks import Mark
from nightune.tasks.workers.silence import LONGEST_STEP_SECONDS, Silence

TRAINING = """
import os, pickle, signal, sys, time
from multiprocessing.connection import Connection

connection = Connection(pickle.load(sys.stdin.buffer).descriptor)
connection.send("")
while True:
    message = connection.recv_bytes()
    for _ in range(8):
        connection.send((False, b""))
        time.sleep(0.1)
    if message == b"hang":
        os.kill(os.getpid(), signal.SIGSTOP)
    connection.send((True, message))
"""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    (tmp_path / "training_process_of_test.py").write_text(TRAINING)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("NIGHTUNE_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(module, "POLL_SECONDS", 0.05)
    nowhere = Tracking("sqlite:///none.db", "run", True)
    started = Host(Sending("flow", "training_process_of_test", {}, {}, "flowers", nowhere, Mark(tmp_path, "", "")))
    started.hello()
    yield started
    started.end()


class Beating:
    """A connection to a process that shows a sign of life at each fourth look, and answers at the 32nd."""

    looks = 0

    def poll(self, seconds: float) -> bool:
        self.looks += 1
        return self.looks % 4 == 0

    def recv(self) -> tuple[bool, bytes]:
        return (True, b"answer") if self.looks == 32 else (False, b"")

    def send_bytes(self, message: bytes) -> None:
        assert message == b"job"


@pytest.mark.slow  # its process is started by a thread
def test_signs_of_life_end_the_silence_of_a_process(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = count()
    monkeypatch.setattr(module, "Silence", lambda: Silence(lambda: next(looks) * 100.0))  # seconds between two looks
    monkeypatch.setattr(host, "_connection", Beating())
    monkeypatch.setattr(module, "HANG_SECONDS", 3 * LONGEST_STEP_SECONDS)
    assert host.train(b"job", "1", pytest.fail) == b"answer"


@pytest.mark.slow  # its process is started by a thread
def test_a_training_process_that_hangs_is_killed_and_named(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    received: list[bytes] = []
    assert host.train(b"job", "1", received.append) == b"job"
    assert received == []
    assert host._process is not None
    log = open_crash_log(tmp_path / "store", "flowers", place_of(host._process.pid))
    with log.training("key-3", 3):
        record = log._in_training.read_text()
    log._in_training.write_text(record.replace(f'"process": {psutil.Process().pid}', f'"process": {host._process.pid}'))
    monkeypatch.setattr(module, "HANG_SECONDS", 0.5)  # a process that is slow to answer is killed as well
    began = time.monotonic()
    died = pickle.loads(host.train(b"hang", "2", received.append))
    assert isinstance(died, Died)
    assert "hangs" in died.cause
    assert (died.key, died.is_fault) == ("key-3", False)
    assert time.monotonic() - began > 0.5
    assert host._process.poll() is not None
