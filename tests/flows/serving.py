"""A serving process with its own Prefect server, and what that server reports about its nights."""

import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.flows.conftest import command_line

NIGHT_SECONDS = 400.0

FlowRun = dict[str, Any]


class Served:
    """Studies served every minute in the store that the environment names; `start` may be called again."""

    def __init__(self, studies: Sequence[Path], log: Path, command: Sequence[str] = ()) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.studies, self.log = studies, log
        self.command = [*command] or command_line()

    def start(self, *options: str, **environment: str) -> None:
        words = ["serve", *map(str, self.studies), "--cron", "* * * * *", "--engine", "fit", "--port", str(self.port)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.command, *words, *options], stdout=log, stderr=log, env=os.environ | environment
            )

    def runs(self, study: str = "") -> list[FlowRun]:
        """The nights of a study, or all, by their scheduled time."""
        found = self.ask("flow_runs/filter", sort="EXPECTED_START_TIME_ASC", flows={"name": {"any_": ["nightly"]}})
        return [run for run in found if study in ("", Path(run["parameters"]["study_file"]).stem)]

    def ask(self, what: str, **question: Any) -> list[FlowRun]:
        """Return the server's answer; an empty list if it does not respond."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/{what}",
            json.dumps(question).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                found: list[FlowRun] = json.load(answer)
                return found
        except OSError:
            return []

    def in_state(self, name: str, study: str = "") -> list[FlowRun]:
        return [run for run in self.runs(study) if run["state_name"] == name]

    def wait(self, until: Callable[[], object]) -> None:
        deadline = time.monotonic() + NIGHT_SECONDS
        while not until():
            assert self.process.poll() is None, self.log.read_text()
            states = [(run["name"], run["state"]["name"], run["state"]["message"]) for run in self.runs()[:9]]
            assert time.monotonic() < deadline, (self.log.read_text(), states)
            time.sleep(1)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


def spans(runs: Sequence[FlowRun]) -> list[tuple[str, str]]:
    """Begin and end of each night, in order."""
    return sorted((run["start_time"], run["end_time"]) for run in runs)
