"""Sweeps in their own processes to inject faults into, and queries of the store's database."""

import os
import sqlite3
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from tests.flows.conftest import command_line

_started: list["Sweep"] = []


class Sweep:
    """`nightune tune STUDY …` in its own process, with its output in a file."""

    def __init__(self, study: Path, *options: str | Path, before: Sequence[str] = (), **environment: str) -> None:
        self._log = study.with_suffix(f".{time.monotonic_ns()}.log")
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*before, *command_line("tune", study, *options)],
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        _started.append(self)

    @property
    def output(self) -> str:
        """Everything that it printed."""
        return self._log.read_text()

    def wait_for_output(self, words: str, seconds: float = 150.0) -> None:
        """Wait until it has printed the words."""
        wait_until(lambda: words in self.output or self.process.poll() is not None, seconds)
        assert words in self.output, self.output

    def wait(self, seconds: float = 240.0) -> int:
        """Wait for its end; return its exit code."""
        return self.process.wait(seconds)


def kill_remaining_sweeps() -> None:
    """Kill the sweeps that a failed test left running."""
    while _started:
        sweep = _started.pop()
        sweep.process.kill()
        sweep.process.wait()


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until a condition is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def query(database: Path, statement: str) -> list[tuple[object, ...]]:
    """Query a database."""
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        return connection.execute(statement).fetchall()


def trial_numbers(database: Path) -> list[int]:
    """Return the numbers of the trials in MLflow's database, one for each run."""
    return sorted(
        int(str(value)) for (value,) in query(database, "select value from tags where key = 'nightune.trial_number'")
    )


def run_states(database: Path) -> set[str]:
    """Return the states of all runs."""
    return {str(state) for (state,) in query(database, "select distinct status from runs")}


def validation_points(database: Path) -> int:
    """Count the points of validation loss of all runs."""
    return int(str(query(database, "select count(*) from metrics where key = 'val_loss'")[0][0]))
