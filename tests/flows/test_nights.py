"""Nights as they are: a served study runs by its schedule, twice, is killed, and runs again. Minutes: `make nights`."""

import itertools
import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.flows.conftest import command_line

pytestmark = pytest.mark.nights

NIGHT_SECONDS = 400.0


class Served:
    """A serving process with a Prefect server of its own, and what that server says."""

    def __init__(self, study: Path, log: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.study, self.log = study, log
        self.process = self.start()

    def start(self) -> "subprocess.Popen[bytes]":
        words = ["serve", self.study, "--cron", "* * * * *", "--engine", "fit", "--port", self.port]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command_line(*map(str, words)), stdout=log, stderr=log, env=dict(os.environ)
            )
        return self.process

    def runs(self) -> list[dict[str, Any]]:
        question = {"sort": "EXPECTED_START_TIME_ASC", "flows": {"name": {"any_": ["nightly"]}}, "limit": 200}
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/flow_runs/filter",
            json.dumps(question).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                found: list[dict[str, Any]] = json.load(answer)
                return found
        except OSError:
            return []

    def ended_well(self) -> list[dict[str, Any]]:
        return [run for run in self.runs() if run["state_type"] == "COMPLETED"]

    def wait(self, until: Callable[[], bool]) -> None:
        give_up_at = time.monotonic() + NIGHT_SECONDS
        while not until():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < give_up_at, (self.log.read_text(), [run["state"] for run in self.runs()[:9]])
            time.sleep(1)


@pytest.fixture
def served(small_study: Path, store_root: Path, tmp_path: Path) -> Iterator[Served]:
    assert store_root.is_dir()
    service = Served(small_study, tmp_path / "serve.log")
    yield service
    service.process.terminate()
    service.process.wait(60)


def test_a_served_study_runs_twice_without_overlap_and_again_after_a_kill(served: Served) -> None:
    served.wait(lambda: len(served.ended_well()) >= 2)
    served.wait(lambda: any(run["state_type"] == "RUNNING" for run in served.runs()))
    served.process.kill()
    served.process.wait()
    served.start()
    served.wait(lambda: len(served.ended_well()) >= 3)
    states = [run["state_type"] for run in served.runs()]
    assert states.count("CRASHED") == 1
    spans = sorted((run["start_time"], run["end_time"]) for run in served.runs() if run["state_type"] == "COMPLETED")
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
