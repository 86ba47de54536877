"""One evening of served nights, good and bad, stopped by Ctrl-C, and the next evening. Takes minutes: `make nights`."""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.faults.test_poison import trials
from tests.flows.conftest import SMALL_STUDY, command_line
from tests.flows.serving import FlowRun, Served, spans
from tests.tasks.test_notify import Receiver, receiving

pytestmark = pytest.mark.nights

BUILDERS = """
import os, time
import keras

def deadly(input_shape, output_size, width: int = 4):
    if width == 3:
        os.abort()
    return keras.Sequential([keras.Input(input_shape), keras.layers.Dense(width), keras.layers.Dense(output_size)])

def slow(input_shape, output_size):
    time.sleep(0 if os.environ.get("SLEPT") else SECONDS)  # once a night, not for each model
    os.environ["SLEPT"] = "yes"
    return keras.Sequential([keras.Input(input_shape), keras.layers.Dense(output_size)])
"""
NOTE = """
import os, pathlib, sys
with pathlib.Path(sys.argv[1]).open("a") as file:
    file.write(os.environ["NIGHTUNE_EVENT"] + " " + os.environ["NIGHTUNE_STUDY"] + "\\n")
"""
SLOW_SECONDS = 65  # more than a minute: it overlaps the next night


@dataclass
class Evening:
    """What happened while studies were served: the nights of each study, the events sent, and leftovers."""

    served: Served
    nights: dict[str, list[FlowRun]]
    events: list[dict[str, Any]]
    noted: list[str]
    paused: list[FlowRun]
    resumed: list[FlowRun]
    exit_code: int = -1
    stop_seconds: float = 0.0
    left_over: tuple[str, ...] = ()

    def states(self, study: str) -> list[str]:
        return [run["state_name"] for run in self.nights[study] if run["state_name"] not in ("Scheduled", "Late")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evening")
    (folder / "nets.py").write_text(BUILDERS.replace("SECONDS", str(SLOW_SECONDS)))
    one = SMALL_STUDY.replace('optimizer = ["sgd", "adam"]', 'optimizer = "sgd"').replace("trials = 4", "trials = 1")
    grid = one.replace("trials = 1\n", "").replace('{ low = 1e-3, high = 1e-1, scale = "log" }', "0.1")
    grid = grid.replace('"random"', '"grid"')
    mlp = '"mlp"\nunits = [[4]]'
    (folder / "deadly.toml").write_text(grid.replace(mlp, '"nets.py:deadly"\nwidth = [2, 3]'))
    (folder / "slow.toml").write_text(one.replace(mlp, '"nets.py:slow"'))
    (folder / "broken.toml").write_text(one.replace('source = "iris"', 'source = "broken.csv"\ntarget = "kind"'))
    (folder / "broken.csv").write_text("width,kind\n")
    (folder / "note.py").write_text(NOTE)
    return folder


@pytest.fixture(scope="module")
def store(folder: Path) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NIGHTUNE_STORE", str(folder / "mlruns"))
        yield folder / "mlruns"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    yield from receiving()


@pytest.fixture(scope="module")
def evening(folder: Path, store: Path, receiver: Receiver) -> Evening:
    """Three studies at once: one trial of the first aborts, the second has no data, the third takes over a minute."""
    noted = folder / "noted.txt"
    served = Served([folder / f"{name}.toml" for name in ("deadly", "broken", "slow")], folder / "serve.log")
    hook = f"{sys.executable} {folder / 'note.py'} {noted}"
    served.start("--hook", hook, NIGHTUNE_WEBHOOK=receiver.address)
    try:
        served.wait(lambda: len(served.in_state("Failed", "broken")) >= 2)
        nightune("pause", folder / "broken.toml")
        paused = served.runs("broken")
        nightune("resume", folder / "broken.toml")
        served.wait(lambda: served.in_state("Scheduled", "broken"))
        resumed = served.runs("broken")
        nightune("pause", folder / "broken.toml")
        served.wait(lambda: served.in_state("Completed", "deadly"))
        nightune("pause", folder / "deadly.toml")
        served.wait(lambda: "CANCELLED" in [run["state_type"] for run in served.runs("slow")])
        served.wait(lambda: served.in_state("Running", "slow"))
        nights = {study: served.runs(study) for study in ("deadly", "broken", "slow")}
        seen = Evening(served, nights, receiver.bodies, noted.read_text().splitlines(), paused, resumed)
        stop_by_control_c(seen)
    finally:
        if served.process.poll() is None:
            served.stop()
    return seen


def nightune(*words: str | Path) -> None:
    done = subprocess.run(command_line(*words), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def stop_by_control_c(evening: Evening) -> None:
    """Ctrl-C as a terminal sends it: to every process of the group, not to the server in its own."""
    process = psutil.Process(evening.served.process.pid)
    family = process.children(recursive=True)
    group = [each for each in family if os.getpgid(each.pid) == os.getpgid(process.pid)]
    started_at = time.monotonic()
    for each in [process, *group]:
        each.send_signal(signal.SIGINT)
    evening.exit_code = evening.served.process.wait(60)
    evening.stop_seconds = time.monotonic() - started_at
    evening.left_over = tuple(str(each) for each in family if each.is_running())


def test_a_trial_that_kills_its_process_is_given_up_and_the_night_continues(evening: Evening, store: Path) -> None:
    states = [state for state in evening.states("deadly") if state != "Cancelled"]
    assert states[:4] == ["Crashed", "Crashed", "Crashed", "Completed"]
    aborted = "crashed its process 3 times: Process exited with status code: -6"
    assert trials(store)[3] == ("failed", aborted)
    assert trials(store)[2] == ("completed", "")
    crashes = [event for event in evening.events if event["event"] == "crashed" and event["study"] == "deadly"]
    outcomes = [str(event["reason"]).partition("; the night ")[2] for event in crashes]
    # On a busy machine the next night has also begun.
    assert outcomes[:3] == ["retries it", "retries it", "continues without it"]


def test_a_night_with_broken_data_reports_its_failure_and_does_not_block_the_next(evening: Evening) -> None:
    assert evening.states("broken")[:2] == ["Failed", "Failed"]
    failures = [event for event in evening.events if event["study"] == "broken"]
    reported = {event["flow_run_id"] for event in failures}
    assert {run["id"] for run in evening.nights["broken"] if run["state_name"] == "Failed"} <= reported
    assert {event["event"] for event in failures} == {"failed"}
    assert "broken.csv" in str(failures[0]["reason"])
    assert evening.noted.count("failed broken") >= 2


def test_a_verdict_is_sent_to_the_webhook_and_to_the_command(evening: Evening) -> None:
    (verdict,) = [event for event in evening.events if event["study"] == "deadly" and event["event"] != "crashed"]
    assert verdict["event"] in ("promoted", "refused")
    assert (verdict["sweep"], verdict["reason"] != "") == ("deadly-0", True)
    assert f"{verdict['event']} deadly" in evening.noted


def test_a_night_that_overlaps_the_previous_one_is_cancelled(evening: Evening) -> None:
    cancelled = [run for run in evening.nights["slow"] if run["state_name"] == "Cancelled"]
    assert {run["state"]["message"] for run in cancelled} == {"Deployment concurrency limit reached."}


def test_a_pause_removes_the_coming_nights_and_resuming_restores_them(evening: Evening) -> None:
    assert [run for run in evening.paused if run["state_type"] == "SCHEDULED"] == []
    assert [run for run in evening.resumed if run["state_type"] == "SCHEDULED"] != []


def test_control_c_ends_nights_and_server_and_leaves_nothing(evening: Evening) -> None:
    output = evening.served.log.read_text()
    assert (evening.exit_code, evening.left_over) == (0, ())
    assert "Stopped." in output
    assert "Traceback" not in output
    assert "never awaited" not in output
    assert evening.stop_seconds < 45  # a night has half a minute to end by itself
    assert not [event for event in evening.events if event["study"] == "slow" and event["event"] == "crashed"]


def test_missed_nights_become_one_and_waiting_nights_run_one_after_another(evening: Evening, folder: Path) -> None:
    served = Served([folder / "slow.toml"], folder / "next.log")
    served.port = evening.served.port
    earlier = {run["id"] for run in evening.nights["slow"] if run["state_name"] == "Completed"}
    time.sleep(max(0.0, 61.0 - time.time() % 60))  # until the time of a night has passed
    served.start("--missed", "once", "--on-overlap", "wait")
    try:
        served.wait(lambda: served.in_state("AwaitingConcurrencySlot", "slow"))
        served.wait(lambda: len(served.in_state("Completed", "slow")) >= len(earlier) + 2)
        nights = [run for run in served.runs("slow") if run["id"] not in earlier]
    finally:
        served.stop()
    stopped = [run["state"]["message"] for run in nights if run["state_name"] == "Cancelled"]
    assert "Runner is shutting down." in stopped
    assert "missed: `nightune serve` was not running" in stopped
    assert "crashed nights" not in served.log.read_text()
    completed = [run for run in nights if run["state_name"] == "Completed"]
    by_hand = [run for run in completed if not run["auto_scheduled"]]
    assert len(by_hand) == 1
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans(completed)))
    assert served.process.returncode == 0
