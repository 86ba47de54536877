"""Faults of a Dask cluster that stands: whatever dies, no trial is lost or doubled, and the same command resumes."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.cluster import Cluster
from tests.faults.test_killed_workers import poison, statuses
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


def test_a_poison_fails_alone_after_three_deaths_on_any_worker(
    cluster: Cluster, store_root: Path, small_study: Path
) -> None:
    poison(small_study)
    done = tuned(small_study)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("SIGABRT · attempt") == 2
    assert statuses(store_root) == ["completed", "completed", "completed", "failed"]


@pytest.mark.parametrize(
    ("end", "code"),
    [("kill flow", -9), ("ctrl-c", 130), ("kill scheduler", 3), ("kill a worker", 0), ("kill all workers for good", 3)],
)
def test_every_end_stops_the_trainings_and_the_same_command_resumes(
    end: str, code: int, cluster: Cluster, store_root: Path, small_study: Path, tmp_path: Path
) -> None:
    text = small_study.read_text().replace("epochs = 2", "epochs = 150").replace("trials = 4", "trials = 8")
    small_study.write_text(text.replace("[search]", 'stopping.rule = "none"\n[search]'))
    process = subprocess.Popen(command_line("tune", small_study, "--engine", "fit"), stderr=subprocess.PIPE, text=True)
    said = _until(process, "completed")
    ends: dict[str, Callable[[], None]] = {
        "ctrl-c": lambda: process.send_signal(signal.SIGINT),
        "kill flow": lambda: _kill_tree(process),
        "kill scheduler": cluster.scheduler.kill,
        "kill a worker": lambda: psutil.Process(cluster.trainings()[0].ppid()).kill(),
        "kill all workers for good": lambda: _kill(*cluster.workers),
    }
    ends[end]()
    said += process.communicate(timeout=PATIENCE_SECONDS)[1]
    assert process.returncode == code, said
    cluster.wait_until_idle(60)
    if code:
        resume(small_study, cluster, tmp_path / "again", is_lost=code == 3)
    assert statuses(store_root) == ["completed"] * 8


def resume(study: Path, cluster: Cluster, folder: Path, is_lost: bool) -> None:
    """Run the command again, on a new cluster if the first one is lost."""
    if is_lost:
        folder.mkdir()
        cluster = Cluster(folder)
    done = tuned(study, NIGHTUNE_DASK=cluster.address, **cluster.tls)
    if is_lost:
        cluster.close()
    assert done.returncode == 0, done.stderr


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


def _kill(*nannies: "subprocess.Popen[bytes]") -> None:
    for nanny in nannies:
        below = psutil.Process(nanny.pid).children(recursive=True)
        nanny.kill()
        for child in below:
            with suppress(psutil.Error):  # it has ended with its parent
                child.kill()
