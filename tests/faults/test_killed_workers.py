"""What ends with what: an aborting trial, a stopped command, a killed flow. No trial is lost or doubled."""

import os
import shlex
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.flows.conftest import Command, command_line

pytestmark = [pytest.mark.nights, pytest.mark.usefixtures("store_root")]

ADDRESSES_KIB = 9_000_000  # that every process may reserve: TensorFlow takes more than half of them

POISON = """
import os, sys
import keras

def build(input_shape, output_size, width: int = 4):
    if width == 3 and "nightune.flows.runtime.worker_process" in sys.orig_argv:
        os.abort()
    return keras.Sequential([keras.Input(input_shape), keras.layers.Dense(width), keras.layers.Dense(output_size)])
"""


def poison(study: Path) -> None:
    """Let one of the study's four trials abort the process that trains it."""
    (study.parent / "poison.py").write_text(POISON)
    text = study.read_text().replace('"mlp"\nunits = [[4]]', '"poison.py:build"\nwidth = [2, 3, 4, 5]')
    text = text.replace('optimizer = ["sgd", "adam"]', 'optimizer = "sgd"').replace("trials = 4\n", "")
    text = text.replace('{ low = 1e-3, high = 1e-1, scale = "log" }', "0.1").replace('"random"', '"grid"')
    study.write_text(text)


def statuses(store: Path) -> list[str]:
    with sqlite3.connect(store / "mlflow.db") as database:
        trials = "select run_uuid from tags where key = 'nightune.trial_key'"
        query = f"select value from tags where key = 'nightune.status' and run_uuid in ({trials})"
        return sorted(status for (status,) in database.execute(query))


def test_a_trial_that_aborts_its_worker_three_times_fails_alone(
    nightune: Command, store_root: Path, small_study: Path
) -> None:
    poison(small_study)
    done = nightune("tune", small_study, "--engine", "fit", "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("SIGABRT · attempt") == 2
    assert statuses(store_root) == ["completed", "completed", "completed", "failed"]
    assert list((store_root / "locks").glob("*.json")) == []


def test_a_trial_for_which_a_limit_leaves_no_memory_fails_alone(store_root: Path, small_study: Path) -> None:
    poison(small_study)
    builder = small_study.parent / "poison.py"
    builder.write_text(POISON.replace("os.abort()", f"bytearray({2 * ADDRESSES_KIB} * 1024)"))
    command = shlex.join(command_line("tune", small_study, "--engine", "fit", "--workers", "2"))
    limited = ["bash", "-c", f"ulimit -v {ADDRESSES_KIB}; exec {command}"]
    done = subprocess.run(limited, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("out of memory · attempt") == 3
    assert "ulimit -v" in done.stderr  # the report has no pictures, and is drawn
    assert statuses(store_root) == ["completed", "completed", "completed", "failed"]


@pytest.mark.parametrize(
    ("end", "code"), [("kill supervisor", -9), ("kill flow", 137), ("ctrl-c", 130), ("kill workers", 3)]
)
def test_every_end_leaves_no_process_and_the_same_command_resumes(
    end: str, code: int, nightune: Command, store_root: Path, small_study: Path
) -> None:
    text = small_study.read_text().replace("epochs = 2", "epochs = 150").replace("trials = 4", "trials = 8")
    small_study.write_text(text.replace("[search]", 'stopping.rule = "none"\n[search]'))
    words = command_line("tune", small_study, "--engine", "fit", "--workers", "2")
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = ""
    while "completed" not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    tree = psutil.Process(process.pid).children(recursive=True)
    workers = [each for each in tree if is_worker(each)]
    assert len(workers) == 2
    ends: dict[str, Callable[[], None]] = {
        "ctrl-c": lambda: process.send_signal(signal.SIGINT),
        "kill flow": lambda: os.kill(workers[0].ppid(), signal.SIGKILL),
        "kill supervisor": process.kill,
        "kill workers": lambda: kill_until_the_end(process),
    }
    ends[end]()
    process.communicate(timeout=60)
    assert process.returncode == code
    assert psutil.wait_procs(tree, timeout=5)[1] == []
    again = nightune("tune", small_study, "--engine", "fit", "--workers", "2")
    assert again.returncode == 0, again.stderr
    assert statuses(store_root) == ["completed"] * 8


def is_worker(process: psutil.Process) -> bool:
    with suppress(psutil.Error):  # it has ended
        return "nightune.flows.runtime.worker_process" in process.cmdline()
    return False


def kill_until_the_end(process: "subprocess.Popen[str]") -> None:
    """Kill each worker as soon as it appears, so that none trains."""
    until = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < until:
        for each in psutil.Process(process.pid).children(recursive=True):
            if is_worker(each):
                each.kill()
        time.sleep(0.1)
