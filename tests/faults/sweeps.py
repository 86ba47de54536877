"""Sweeps in processes of their own that faults are let loose on, and what the store's database then says."""

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
    """`nightune tune STUDY …` in a process of its own; what it says goes to a file."""

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
    def said(self) -> str:
        """All that it has said."""
        return self._log.read_text()

    def wait_to_say(self, words: str, seconds: float = 150.0) -> None:
        """Wait until it has said some words."""
        wait_until(lambda: words in self.said or self.process.poll() is not None, seconds)
        assert words in self.said, self.said

    def wait(self, seconds: float = 240.0) -> int:
        """Wait for its end; return its exit code."""
        return self.process.wait(seconds)


def end_what_is_left() -> None:
    """Kill the sweeps that a failed test has left."""
    while _started:
        sweep = _started.pop()
        sweep.process.kill()
        sweep.process.wait()


def wait_until(is_so: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for something to be so."""
    give_up_at = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < give_up_at
        time.sleep(0.05)


def ask(database: Path, question: str) -> list[tuple[object, ...]]:
    """Ask a database."""
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        return connection.execute(question).fetchall()


def trial_numbers(database: Path) -> list[int]:
    """The numbers of the trials that MLflow's database holds, one for each run."""
    return sorted(
        int(str(value)) for (value,) in ask(database, "select value from tags where key = 'nightune.trial_number'")
    )


def run_states(database: Path) -> set[str]:
    """The states of all runs."""
    return {str(state) for (state,) in ask(database, "select distinct status from runs")}


def validation_points(database: Path) -> int:
    """How many points of validation loss there are in all."""
    return int(str(ask(database, "select count(*) from metrics where key = 'val_loss'")[0][0]))
