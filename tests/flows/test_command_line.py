"""The command line as a user runs it: in its own process."""

import base64
import re
import signal
import socket
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.flows.conftest import Command, command_line, last_json

TRIALS = "16"  # more than the kills and the stop leave time for


@pytest.mark.slow
def test_json_is_the_last_line_and_prefects_own_server_keeps_every_task_run(
    nightune: Command, store_root: Path, small_study: Path
) -> None:
    done = nightune("tune", small_study, "--json", XLA_FLAGS="")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.strip().splitlines()) == 1
    summary = last_json(done.stdout)
    assert summary["sweep_id"] == "flowers-0"
    assert summary["study"] == "flowers"
    assert summary["trials"]["finished"] == 4
    assert set(summary["best"]) >= {"run_id", "params", "objective"}
    for part in ("trial 0 · ", "nightune ui", "--fresh", "/report/index.html"):
        assert part in done.stderr
    shown = nightune("show", small_study, "--json")
    assert last_json(shown.stdout) == summary
    with sqlite3.connect(store_root / "prefect" / "prefect.db") as database:
        states = database.execute("select state_type from flow_run").fetchall()
        names = [name for (name,) in database.execute("select name from task_run")]
        ended = database.execute("select count(*) from task_run where state_type <> 'COMPLETED'").fetchone()
    assert states == [("COMPLETED",)]
    trainings = [name for name in names if name.startswith("train trial")]
    assert {number for name in trainings for number in re.findall(r"\d+", name)} == {"0", "1", "2", "3"}
    others = sorted(name.rpartition("-")[0] for name in names if name not in trainings)
    assert others == ["prepare_data", "propose_trials", "start_sweep", "write_report"]
    assert ended == (0,)


@pytest.mark.nights
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_sweep_prints_how_to_resume(
    store_root: Path, prefect_server: str, small_study: Path, stop: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    process = start(small_study, "--trials", "500")
    wait_for_a_trial(process)
    assert_stops(process, stop, store_root, f"nightune tune {small_study} --trials 500")


def assert_stops(process: "subprocess.Popen[str]", stop: signal.Signals, store_root: Path, command: str) -> None:
    """Send the signal; assert that the sweep ends well and prints the command that resumes it."""
    process.send_signal(stop)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert command in errors
    assert "Traceback" not in errors
    assert trial_runs(store_root, "RUNNING") == 0
    assert trial_runs(store_root, "FAILED") == 0  # by an interrupt that TensorFlow replaced by another error


@pytest.mark.parametrize("pauses", [(0.35,), pytest.param((0.0, 0.35, 0.8), marks=pytest.mark.nights)], ids=str)
def test_after_kills_and_a_stop_every_trial_exists_exactly_once(
    store_root: Path,
    prefect_server: str,
    small_study: Path,
    monkeypatch: pytest.MonkeyPatch,
    pauses: tuple[float, ...],
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    from nightune.flows.tune import tune

    for pause_seconds in pauses:
        process = start(small_study, "--trials", TRIALS, "--engine", "fit")
        wait_for_a_trial(process)
        time.sleep(pause_seconds)
        process.kill()
        process.communicate(timeout=60)
    process = start(small_study, "--trials", TRIALS, "--engine", "fit")
    wait_for_a_trial(process)
    assert_stops(process, signal.SIGINT, store_root, f"nightune tune {small_study} --trials {TRIALS}")
    assert 1 < trial_runs(store_root, "FINISHED") < int(TRIALS)
    tune(small_study, trials=int(TRIALS), engine="fit")
    with sqlite3.connect(store_root / "mlflow.db") as database:
        numbers = database.execute("select value from tags where key = 'nightune.trial_number'").fetchall()
        points = database.execute("select count(*) from metrics where key = 'val_loss'").fetchone()[0]
    assert sorted(int(value) for (value,) in numbers) == list(range(int(TRIALS)))
    assert trial_runs(store_root, "FINISHED") == int(TRIALS)
    assert points == 2 * int(TRIALS)


@pytest.mark.nights
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_the_ui_opens_at_the_printed_address_until_it_is_stopped(store_root: Path, stop: signal.Signals) -> None:
    port = free_port()
    command = command_line("ui", "--port", str(port))
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    address = next(line for line in process.stderr if line.startswith("http"))
    assert address.startswith(f"http://127.0.0.1:{port}/")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=30) as response:
        assert response.status == 200
    process.send_signal(stop)
    process.communicate(timeout=60)
    assert process.returncode == 0
    with pytest.raises(urllib.error.URLError):  # its server is gone, too
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=30)


@pytest.mark.nights
def test_a_ui_on_the_network_asks_for_a_password_and_refuses_foreign_host_names(
    store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTUNE_UI_PASSWORD", "correct horse battery")
    port = free_port()
    options = ["--host", "0.0.0.0", "--port", str(port), "--allowed-host", "tuner"]
    process = subprocess.Popen(
        command_line("ui", *options), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert any("Open to the network" in line for line in process.stderr)
    known = {"Authorization": "Basic " + base64.b64encode(b"admin:correct horse battery").decode()}
    assert status(port, {}) == 401
    assert status(port, known) == 200
    assert status(port, known | {"Host": f"tuner:{port}"}) == 200
    assert status(port, known | {"Host": f"evil.example:{port}"}) == 403
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)


def status(port: int, headers: dict[str, str]) -> int:
    address = f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/search?max_results=1"
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=60) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def start(study: Path, *options: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command_line("tune", study, *options), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def wait_for_a_trial(process: "subprocess.Popen[str]") -> None:
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith("trial "):
            return
    pytest.fail("no trial ended: " + "".join(lines))


def trial_runs(store_root: Path, status: str) -> int:
    question = """
        select count(*) from runs join tags using (run_uuid)
        where tags.key = 'nightune.kind' and tags.value = 'trial' and runs.status = ?
    """
    with sqlite3.connect(store_root / "mlflow.db") as database:
        return int(database.execute(question, (status,)).fetchone()[0])
