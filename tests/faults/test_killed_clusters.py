"""Faults of a Dask cluster that stands: whatever dies, no trial is lost or doubled, and the same command resumes."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.cluster import Cluster
from tests.faults.test_killed_workers import statuses
from tests.flows.conftest import command_line

PATIENCE_SECONDS = 900.0  # of a command; four processes import Keras for it

pytestmark = [pytest.mark.nights, pytest.mark.usefixtures("store_root")]


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    folder = tmp_path / "cluster"
    folder.mkdir()
    started = Cluster(folder)
    for name, value in started.tls.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NIGHTUNE_DASK", started.address)
    yield started
    started.close()


@pytest.mark.parametrize(
    ("end", "code"),
    [("kill flow", -9), ("kill scheduler", 3)],
)
def test_every_end_stops_the_trainings_and_the_same_command_resumes(
    end: str, code: int, cluster: Cluster, store_root: Path, small_study: Path, tmp_path: Path
) -> None:
    text = small_study.read_text().replace("epochs = 2", "epochs = 150").replace("trials = 4", "trials = 8")
    small_study.write_text(text.replace("[search]", 'stopping.rule = "none"\n[search]'))
    process = subprocess.Popen(command_line("tune", small_study, "--engine", "fit"), stderr=subprocess.PIPE, text=True)
    said = _until(process, "completed")
    ends: dict[str, Callable[[], None]] = {
        "kill flow": lambda: _kill_tree(process),
        "kill scheduler": cluster.scheduler.kill,
    }
    ends[end]()
    said += process.communicate(timeout=PATIENCE_SECONDS)[1]
    assert process.returncode == code, said
    cluster.wait_until_idle(60)
    if code == 3:
        (tmp_path / "again").mkdir()
        again = Cluster(tmp_path / "again")
    else:
        again = cluster
    done = tuned(small_study, NIGHTUNE_DASK=again.address, **again.tls)
    if again is not cluster:
        again.close()
    assert done.returncode == 0, done.stderr
    assert statuses(store_root) == ["completed"] * 8


def tuned(study: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Tune a study on the cluster by the command line."""
    return subprocess.run(
        command_line("tune", study, "--engine", "fit"),
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def _until(process: "subprocess.Popen[str]", word: str) -> str:
    assert process.stderr is not None
    said = ""
    while word not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    return said


def _kill_tree(process: "subprocess.Popen[str]") -> None:
    """Kill the command and the flow that it supervises."""
    for child in psutil.Process(process.pid).children(recursive=True):
        if child.is_running():
            child.kill()
    os.kill(process.pid, signal.SIGKILL)
