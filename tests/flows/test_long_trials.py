"""A long trial resumes where its process was stopped, and ends as an uninterrupted one."""

import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nightune.tasks.reporting.events import EpochEnded
from nightune.tasks.tracking.store.names import PEAKS
from tests.flows.conftest import command_line

EPOCHS = 12

pytestmark = pytest.mark.usefixtures("plain_flows")

Results = dict[str, Any]


@pytest.fixture
def long_study(small_study: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    text = small_study.read_text().replace("trials = 4", "trials = 1").replace("epochs = 2", f"epochs = {EPOCHS}")
    small_study.write_text(text)
    monkeypatch.setenv("NIGHTUNE_SNAPSHOT_SECONDS", "0")
    return small_study


def tune(study: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nightune.flows.tune import tune as flow

    monkeypatch.setenv("NIGHTUNE_STORE", str(store))
    flow(study, engine="fit")


def trial(store: Path) -> Results:
    """The trial's tags, and its metrics by name and step, from the database, except time and memory."""
    with closing(sqlite3.connect(f"file:{store}/mlflow.db?mode=ro", uri=True)) as database:
        query = "SELECT run_uuid FROM tags WHERE key = 'nightune.kind' AND value = 'trial'"
        ((run,),) = database.execute(query).fetchall()
        tags = dict(database.execute("SELECT key, value FROM tags WHERE run_uuid = ?", (run,)).fetchall())
        points = database.execute("SELECT key, step, value FROM metrics WHERE run_uuid = ?", (run,)).fetchall()
    return {
        "tags": tags,
        "points": sorted(point for point in points if point[0] not in ("seconds", *PEAKS)),
        "snapshots": [path.name for path in store.rglob(f"{run}/artifacts/resume/*")],
    }


def test_a_stopped_trial_resumes_after_its_last_epoch(
    long_study: Path, store_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nightune.tasks.trial import trial_runner

    def stop(event: EpochEnded) -> None:
        if event.epoch == 7:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trial_runner, "announce_epoch", stop)
        with pytest.raises(KeyboardInterrupt):
            tune(long_study, store_root, monkeypatch)
    assert trial(store_root)["snapshots"] == ["epoch-0000006.npz"]
    tune(long_study, store_root, monkeypatch)
    resumed = trial(store_root)
    assert resumed["tags"]["nightune.resumed_at"] == "6"
    assert resumed["snapshots"] == []
    assert "nightune.snapshot" not in resumed["tags"]
    monkeypatch.setenv("NIGHTUNE_SNAPSHOT_SECONDS", "60")
    tune(long_study, tmp_path / "unbroken", monkeypatch)
    assert trial(tmp_path / "unbroken")["points"] == resumed["points"]


@pytest.mark.nights
def test_a_damaged_snapshot_costs_epochs_and_nothing_else(
    long_study: Path, store_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nightune.tasks.trial import trial_runner

    def stop(event: EpochEnded) -> None:
        if event.epoch == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trial_runner, "announce_epoch", stop)
        with pytest.raises(KeyboardInterrupt):
            tune(long_study, store_root, monkeypatch)
    (kept,) = store_root.rglob("resume/*.npz")
    kept.write_bytes(kept.read_bytes()[:1000])
    tune(long_study, store_root, monkeypatch)
    resumed = trial(store_root)
    assert "nightune.resumed_at" not in resumed["tags"]
    assert resumed["snapshots"] == []
    tune(long_study, tmp_path / "unbroken", monkeypatch)
    assert trial(tmp_path / "unbroken")["points"] == resumed["points"]


@pytest.mark.nights
def test_a_killed_trial_resumes_and_ends_as_an_uninterrupted_one(
    long_study: Path, store_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_study.write_text(long_study.read_text().replace(f"epochs = {EPOCHS}", "epochs = 400"))
    command = command_line("tune", long_study, "--engine", "fit")
    process = subprocess.Popen(command, env={**os.environ, "NIGHTUNE_STORE": str(store_root)}, start_new_session=True)
    wait_for(lambda: len(list(store_root.rglob("resume/epoch-00000[3-9]*.npz"))) > 0)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    tune(long_study, store_root, monkeypatch)
    resumed = trial(store_root)
    assert int(resumed["tags"]["nightune.resumed_at"]) >= 30
    tune(long_study, tmp_path / "unbroken", monkeypatch)
    assert trial(tmp_path / "unbroken")["points"] == resumed["points"]


def wait_for(condition: Callable[[], bool], seconds: float = 240.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
