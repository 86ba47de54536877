"""A cluster's worker whose disk fills while it trains, and workers with too little memory: only a poison fails."""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from nightune.models.data.memory_limits import FIRST, groups_with_memory
from nightune.tasks.reporting.events import TrialEnded
from tests.cluster import Cluster
from tests.faults.small_disks import small_disk_at
from tests.faults.sweeps import trial_numbers
from tests.faults.test_full_and_locked import fill
from tests.faults.test_killed_clusters import tuned
from tests.faults.test_killed_workers import POISON, poison, statuses

pytestmark = [pytest.mark.nights, pytest.mark.usefixtures("store_root")]

TRIALS = 12
GROUP_BYTES = 3 * 2**30  # for a worker: more than twice what it needs
HEAVY = f'bytearray(b"1") * {2 * GROUP_BYTES}'  # written, not only reserved


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A cluster without workers; tests add them."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    started = Cluster(folder, workers=0)
    for name, value in started.tls.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NIGHTUNE_DASK", started.address)
    yield started
    started.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB; only root may mount one."""
    with small_disk_at(tmp_path / "disk", "4m") as disk:
        yield disk


@pytest.fixture
def small_group(cluster: Cluster) -> Iterator[Path]:
    """A control group with a limit of memory that a worker is in; only root may make one."""
    files = (Path(f"/proc/self/{name}") for name in ("cgroup", "mountinfo"))
    own = next(groups_with_memory(*(file.read_text() for file in files if file.exists())), None)
    if own is None:
        pytest.skip("no control groups here")
    group = own.folder / f"nightune-{os.getpid()}"
    limit = "memory.limit_in_bytes" if own.version is FIRST else "memory.max"
    try:
        group.mkdir()
        (group / limit).write_text(str(GROUP_BYTES))
    except OSError:
        with suppress(OSError):
            group.rmdir()
        pytest.skip("no right to limit a control group")
    cluster.workers.append(cluster.add_worker("w1"))
    members = group / "cgroup.procs"
    members.write_text(str(cluster.workers[0].pid))  # before its children are listed: later ones are born there
    for process in psutil.Process(cluster.workers[0].pid).children(recursive=True):
        members.write_text(str(process.pid))
    yield group
    cluster.close()
    until = time.monotonic() + 60
    while group.exists():
        with suppress(OSError):  # a process still ends
            group.rmdir()
        assert time.monotonic() < until
        time.sleep(0.1)


class AfterFirst(logging.Handler):
    """Fills the disk of the only worker when the first trial has ended, and starts another worker."""

    def __init__(self, disk: Path, cluster: Cluster) -> None:
        super().__init__()
        self._disk, self._cluster = disk, cluster

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(getattr(record, "news", None), TrialEnded) and len(self._cluster.workers) == 1:
            fill(self._disk)
            self._cluster.workers.append(self._cluster.add_worker("w2"))


@pytest.mark.usefixtures("prefect_server")
def test_a_disk_that_fills_while_a_worker_trains_costs_no_trial(
    cluster: Cluster,
    small_disk: Path,
    store_root: Path,
    small_study: Path,
    log: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import dask

    from nightune.flows.tune import tune

    monkeypatch.setenv("NIGHTUNE_STORE_PATIENCE_SECONDS", "5")
    cluster.workers.append(cluster.add_worker("w1", TMPDIR=str(small_disk)))
    text = small_study.read_text().replace("epochs = 2", "epochs = 20").replace("trials = 4", f"trials = {TRIALS}")
    small_study.write_text(text.replace("[search]", 'stopping.rule = "none"\n[search]'))
    watch = AfterFirst(small_disk, cluster)
    logging.getLogger("nightune").addHandler(watch)
    dask.config.refresh()
    try:
        tune(small_study, engine="fit")
    finally:
        logging.getLogger("nightune").removeHandler(watch)
    assert "No space left" in log.text
    assert statuses(store_root) == ["completed"] * TRIALS
    assert trial_numbers(store_root / "mlflow.db") == list(range(TRIALS))


@pytest.mark.usefixtures("small_group")
def test_a_trial_that_needs_more_memory_than_a_worker_has_fails_alone(store_root: Path, small_study: Path) -> None:
    poison(small_study)
    (small_study.parent / "poison.py").write_text(POISON.replace("os.abort()", HEAVY))
    done = tuned(small_study)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("SIGKILL, perhaps out of memory · attempt") == 2
    assert statuses(store_root) == ["completed", "completed", "completed", "failed"]
