"""A trial that crashes its process, or hangs, ends alone: the sweep continues without it."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.flows.conftest import Command, command_line

BUILDERS = """
import os, time
import keras

def build(input_shape, output_size, width: int = 4):
    if width == 3:
        os.abort()
    if width == 6:
        time.sleep(600)
    return keras.Sequential([keras.Input(input_shape), keras.layers.Dense(width), keras.layers.Dense(output_size)])
"""


NIGHT = """
import os, pathlib, sys, time
from nightune.flows.runtime.processes import follow
from nightune.settings import SUPERVISOR
from nightune.tasks.trial.crash_log import open_crash_log
follow(int(os.environ[SUPERVISOR]))
attempts = open_crash_log(pathlib.Path(sys.argv[1]), "flowers")
for number, key in enumerate(("good", "bad", "endless")):
    if attempts.final_crash(key) is None:
        with attempts.training(key, number):
            if key == "bad":
                os.abort()
            if key == "endless":
                attempts.record_limit("over its time limit")
                os.kill(os.getpid(), 9)
    print(number, key, attempts.final_crash(key), flush=True)
attempts.clear()
"""
WATCHED = """
import pathlib, sys
from nightune.flows.runtime.supervisor import supervise
from nightune.tasks.trial.crash_log import open_crash_log
sys.exit(supervise(sys.argv[2:], open_crash_log(pathlib.Path(sys.argv[1]), "flowers"), print))
"""
HANGS = """
import os, time
from nightune.flows.runtime.processes import follow
follow(os.getppid())
print(os.getpid(), flush=True)
time.sleep(60)
"""


def test_trials_that_abort_or_exceed_a_limit_end_alone(tmp_path: Path) -> None:
    night = [sys.executable, "-c", NIGHT, str(tmp_path)]
    watched = [sys.executable, "-c", WATCHED, str(tmp_path), *night]
    done = subprocess.run(watched, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line for line in lines if "attempt" in line or "given up" in line] == [
        "trial 1 · crashed its process: SIGABRT · attempt 1 of 3. Restarting; finished trials are kept.",
        "trial 1 · crashed its process 2 times: SIGABRT · attempt 2 of 3. Restarting; finished trials are kept.",
        "trial 1 · crashed its process 3 times: SIGABRT · given up. Restarting; finished trials are kept.",
        "trial 2 · over its time limit · given up. Restarting; finished trials are kept.",
    ]
    assert [line.split()[:2] for line in lines[-3:]] == [["0", "good"], ["1", "bad"], ["2", "endless"]]
    assert list((tmp_path / "locks").glob("*.json")) == []


def test_a_watched_process_ends_with_its_killed_watcher(tmp_path: Path) -> None:
    watched = [sys.executable, "-c", WATCHED, str(tmp_path), sys.executable, "-c", HANGS]
    process = subprocess.Popen(watched, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    child = psutil.Process(int(process.stdout.readline()))
    process.kill()
    process.communicate()
    assert psutil.wait_procs([child], timeout=30)[1] == []


@pytest.fixture
def poisoned(small_study: Path) -> Path:
    (small_study.parent / "poison.py").write_text(BUILDERS)
    text = small_study.read_text()
    text = text.replace('"mlp"\nunits = [[4]]', '"poison.py:build"\nwidth = [2, 3]')
    text = text.replace('optimizer = ["sgd", "adam"]', 'optimizer = "sgd"').replace("trials = 4\n", "")
    text = text.replace('{ low = 1e-3, high = 1e-1, scale = "log" }', "0.1").replace('"random"', '"grid"')
    small_study.write_text(text)
    return small_study


def trials(store_root: Path) -> dict[int, tuple[str, str]]:
    """Width → status and message of each trial in the store."""
    question = "select run_uuid, key, value from tags where key in (?, ?, ?)"
    names = ("nightune.params", "nightune.status", "nightune.message")
    found: dict[str, dict[str, str]] = {}
    with sqlite3.connect(store_root / "mlflow.db") as database:
        for run, key, value in database.execute(question, names):
            found.setdefault(run, {})[key] = value
    return {
        json.loads(tags["nightune.params"])["model.width"]: (tags["nightune.status"], tags.get("nightune.message", ""))
        for tags in found.values()
        if "model.width" in tags.get("nightune.params", "")
    }


@pytest.mark.nights
def test_a_trial_that_aborts_is_tried_three_times_and_then_failed(
    nightune: Command, prefect_server: str, store_root: Path, poisoned: Path
) -> None:
    done = nightune("tune", poisoned, "--engine", "fit", PREFECT_API_URL=prefect_server)
    assert done.returncode == 0, done.stderr
    assert "attempt 1 of 3" in done.stderr
    assert "given up" in done.stderr
    assert trials(store_root) == {
        2: ("completed", ""),
        3: ("failed", "crashed its process 3 times: SIGABRT"),
    }
    assert list((store_root / "locks").glob("*.json")) == []


@pytest.mark.nights
def test_fit_is_used_after_the_choice_of_the_engine_aborts_twice(
    nightune: Command, prefect_server: str, store_root: Path, poisoned: Path
) -> None:
    done = nightune("tune", poisoned, PREFECT_API_URL=prefect_server)
    assert done.returncode == 0, done.stderr
    assert "engine choice · crashed its process 2 times: SIGABRT · attempt 2 of 3" in done.stderr
    assert "engine fit · choosing an engine by trial steps has crashed the process" in done.stderr
    assert trials(store_root)[3] == ("failed", "crashed its process 3 times: SIGABRT")
    assert trials(store_root)[2][0] == "completed"


@pytest.mark.nights
def test_a_trial_that_hangs_ends_at_its_limit(
    nightune: Command, prefect_server: str, store_root: Path, poisoned: Path
) -> None:
    text = poisoned.read_text().replace("width = [2, 3]", "width = [2, 6]")
    poisoned.write_text(text + "[limits]\nseconds = 8\n")
    done = nightune("tune", poisoned, "--engine", "fit", PREFECT_API_URL=prefect_server)
    assert done.returncode == 0, done.stderr
    assert trials(store_root)[6] == ("failed", "over its time limit: limits.seconds is 8")
    assert trials(store_root)[2][0] == "completed"


@pytest.mark.nights
def test_no_process_outlives_a_killed_sweep(store_root: Path, poisoned: Path) -> None:
    poisoned.write_text(poisoned.read_text().replace("width = [2, 3]", "width = [6]"))
    process = subprocess.Popen(command_line("tune", poisoned, "--engine", "fit"), env=os.environ)
    note = store_root / "locks" / "flowers.training.json"
    deadline = time.monotonic() + 200
    while not note.exists():
        assert time.monotonic() < deadline
        time.sleep(0.2)
    family = psutil.Process(process.pid).children(recursive=True)
    assert family
    process.send_signal(signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(family, timeout=30)
    for survivor in alive:
        survivor.kill()
    assert alive == []
