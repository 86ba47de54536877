"""A sweep waits for a full disk, a read-only folder or a locked database; after the limit it stops and can resume."""

import errno
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import BinaryIO

import pytest

from nightune.tasks.tracking.store import retry as retry_module
from nightune.tasks.tracking.store.errors import StoreLostError
from nightune.tasks.tracking.store.store import client, open_store, study_experiment
from tests.faults.small_disks import small_disk_at
from tests.faults.sweeps import Sweep, run_states, trial_numbers, validation_points

TRIALS = 12
EIGHT_AT_ONCE = """
import pathlib, sys
from nightune.tasks.tracking.store.store import client, open_store, study_experiment
study_experiment(open_store(pathlib.Path(sys.argv[1])), "flowers-" + sys.argv[2])
"""


@pytest.fixture
def small_disk(tmp_path: Path, empty_store: Path) -> Iterator[Path]:
    """A file system of 24 MB with a store on it; only root may mount one."""
    with small_disk_at(tmp_path / "disk", "24m") as disk:
        shutil.copytree(empty_store, disk / "mlruns")
        yield disk


def start(study: Path, **environment: str) -> Sweep:
    study.write_text(study.read_text().replace("trials = 4", f"trials = {TRIALS}"))
    return Sweep(study, "--engine", "fit", **environment)


def fill(disk: Path) -> Path:
    """Fill a disk to the last byte."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    return ballast


def complete(store: Path) -> bool:
    database = store / "mlflow.db"
    is_whole = trial_numbers(database) == list(range(TRIALS)) and validation_points(database) == 2 * TRIALS
    checkpoints = list(store.glob("artifacts/flowers/*/artifacts/checkpoint/model.keras"))
    assert all(zipfile.ZipFile(path).testzip() is None for path in checkpoints)
    return is_whole and len(checkpoints) == TRIALS and "RUNNING" not in run_states(database)


@pytest.mark.usefixtures("prefect_server")
def test_a_checkpoint_that_fails_on_a_full_disk_is_written_again(
    small_study: Path, store_root: Path, monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    from nightune.flows.tune import tune

    monkeypatch.setattr(retry_module, "FIRST_PAUSE_SECONDS", 0.01)
    write, copy, failed = Path.write_bytes, shutil.copyfileobj, set[str]()

    def full(what: str) -> None:
        failed.add(what)
        raise OSError(errno.ENOSPC, "No space left on device")

    def write_bytes(path: Path, content: bytes) -> int:
        if path.name == "model.keras" and "written" not in failed:
            write(path, content[: len(content) // 2])
            full("written")
        return write(path, content)

    def copyfileobj(source: BinaryIO, target: BinaryIO, length: int = 0) -> None:
        if str(source.name).endswith("model.keras") and "copied" not in failed:
            target.write(source.read(1000))
            full("copied")
        copy(source, target, length)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    monkeypatch.setattr(shutil, "copyfileobj", copyfileobj)
    report = tune(small_study, engine="fit")
    assert failed == {"written", "copied"}
    assert log.text.count("waiting for it") >= 2
    assert [result.status for result in report.results] == ["completed"] * 4
    checkpoints = list(store_root.glob("artifacts/flowers/*/artifacts/checkpoint/model.keras"))
    assert [zipfile.ZipFile(path).testzip() for path in checkpoints] == [None] * 4


@pytest.mark.slow
def test_a_sweep_waits_for_a_locked_database_within_the_limit(
    store_root: Path, monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    import sqlalchemy

    monkeypatch.setattr(retry_module, "FIRST_PAUSE_SECONDS", 0.05)
    store = open_store(store_root)
    engine = client(store)._client._tracking_client.store.engine
    sqlalchemy.event.listen(engine, "before_cursor_execute", wait_briefly, retval=True)
    try:
        with closing(sqlite3.connect(store_root / "mlflow.db", check_same_thread=False)) as holder:
            holder.execute("begin exclusive")
            with pytest.raises(StoreLostError, match="database is locked"), retry_module.retry_limit(0.2):
                study_experiment(store, "flowers")
            threading.Timer(0.5, holder.rollback).start()
            assert study_experiment(store, "flowers")
    finally:
        sqlalchemy.event.remove(engine, "before_cursor_execute", wait_briefly)
    assert "database is locked" in log.text


def wait_briefly(_connection: object, _cursor: object, statement: str, values: object, *_: object) -> object:
    """Shorten SQLite's own time-out, which MLflow sets to 20 s for each session: it is not under test."""
    return statement.replace("busy_timeout = 20000", "busy_timeout = 10"), values


@pytest.mark.nights
@pytest.mark.parametrize("seconds", [60.0])
def test_a_sweep_outlasts_a_database_that_is_locked_for_a_minute(
    prefect_server: str, store_root: Path, small_study: Path, seconds: float
) -> None:
    sweep = start(small_study, PREFECT_API_URL=prefect_server)
    sweep.wait_for_output("trial ")
    with closing(sqlite3.connect(store_root / "mlflow.db", timeout=60)) as holder:
        holder.execute("begin exclusive")
        time.sleep(seconds)
        holder.rollback()
    assert sweep.wait() == 0, sweep.output
    assert "waiting for it" in sweep.output
    assert complete(store_root)


@pytest.mark.nights
def test_a_database_locked_past_the_limit_stops_the_sweep_and_the_same_command_resumes(
    prefect_server: str, store_root: Path, small_study: Path
) -> None:
    sweep = start(small_study, PREFECT_API_URL=prefect_server, NIGHTUNE_STORE_PATIENCE_SECONDS="5")
    sweep.wait_for_output("trial ")
    with closing(sqlite3.connect(store_root / "mlflow.db", timeout=60)) as holder:
        holder.execute("begin exclusive")
        assert sweep.wait() == 3, sweep.output
        holder.rollback()
    stopped_well(sweep, "database is locked")
    again = start(small_study, PREFECT_API_URL=prefect_server)
    assert again.wait() == 0, again.output
    assert complete(store_root)


@pytest.mark.nights
@pytest.mark.parametrize("owner", ["shared", "own"])
def test_a_sweep_outlasts_a_full_disk(prefect_server: str, small_disk: Path, small_study: Path, owner: str) -> None:
    environment = {"PREFECT_API_URL": prefect_server} if owner == "shared" else {}
    sweep = start(small_study, NIGHTUNE_STORE=str(small_disk / "mlruns"), **environment)
    sweep.wait_for_output("trial ")
    ballast = fill(small_disk)
    sweep.wait_for_output("waiting for it")
    time.sleep(5)
    ballast.unlink()
    assert sweep.wait() == 0, sweep.output
    assert complete(small_disk / "mlruns")


@pytest.mark.nights
@pytest.mark.parametrize("owner", ["shared", "own"])
def test_a_disk_full_past_the_limit_stops_the_sweep_and_the_same_command_resumes(
    prefect_server: str, small_disk: Path, small_study: Path, owner: str
) -> None:
    environment = {"PREFECT_API_URL": prefect_server} if owner == "shared" else {}
    environment["NIGHTUNE_STORE"] = str(small_disk / "mlruns")
    sweep = start(small_study, NIGHTUNE_STORE_PATIENCE_SECONDS="3", **environment)
    sweep.wait_for_output("trial ")
    ballast = fill(small_disk)
    assert sweep.wait() == 3, sweep.output
    stopped_well(sweep, "Finished trials are kept")
    ballast.unlink()
    again = start(small_study, **environment)
    assert again.wait() == 0, again.output
    assert complete(small_disk / "mlruns")


@pytest.mark.nights
def test_a_folder_that_becomes_read_only_stops_the_sweep_and_the_same_command_resumes(
    prefect_server: str, store_root: Path, tmp_path: Path, small_study: Path
) -> None:
    with small_disk_at(store_root / "artifacts", "1g") as artifacts:
        sweep = start(small_study, PREFECT_API_URL=prefect_server, NIGHTUNE_STORE_PATIENCE_SECONDS="3")
        sweep.wait_for_output("trial ")
        subprocess.run(["mount", "-o", "remount,ro", str(artifacts)], check=True)
        assert sweep.wait() == 3, sweep.output
        stopped_well(sweep, "Read-only file system")
        subprocess.run(["mount", "-o", "remount,rw", str(artifacts)], check=True)
        again = start(small_study, PREFECT_API_URL=prefect_server)
        assert again.wait() == 0, again.output
        assert complete(store_root)


@pytest.mark.nights
def test_eight_processes_create_one_store_at_the_same_time(tmp_path: Path) -> None:
    root = tmp_path / "new"
    starts = [subprocess.Popen([sys.executable, "-c", EIGHT_AT_ONCE, str(root), str(n)]) for n in range(8)]
    assert [process.wait(timeout=400) for process in starts] == [0] * 8
    names = {experiment.name for experiment in client(open_store(root)).search_experiments()}
    assert names == {"Default", *(f"flowers-{number}" for number in range(8))}


def stopped_well(sweep: Sweep, reason: str) -> None:
    """Assert one paragraph with the reason and a remedy, and no traceback."""
    assert "Traceback" not in sweep.output, sweep.output
    assert "Logging error" not in sweep.output, sweep.output
    last = sweep.output.strip().splitlines()[-1]
    assert reason in last, sweep.output
    assert "same command" in last, sweep.output
