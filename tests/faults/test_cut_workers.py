"""A worker hangs, or its network is cut, and it returns when others have its trials: none is lost, none doubled."""

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import dask
import psutil
import pytest

from nightune.tasks.reporting.events import TrialEnded
from nightune.tasks.workers import cluster_crew, local_crew
from tests.cluster import Cluster
from tests.faults.conftest import TrackingServer
from tests.faults.cut_proxy import CutProxy
from tests.faults.faulty_proxy import Fault, FaultyProxy
from tests.faults.small_disks import small_disk_at
from tests.flows.conftest import SMALL_STUDY, tuned_in
from tests.flows.test_workers import own_workers, recorded

pytestmark = [pytest.mark.nights, pytest.mark.usefixtures("store_root", "prefect_server")]

SILENCE_SECONDS = 6.0
LONG_STUDY = SMALL_STUDY.replace("epochs = 2", "epochs = 20").replace("trials = 4", "trials = 12")
LONG_STUDY = LONG_STUDY.replace("[search]", 'stopping.rule = "none"\n[search]')


class WorkerFault(logging.Handler):
    """Begins when the first trial has ended; ends when two more have, after a worker was given up."""

    def __init__(self, begin: Callable[[], None], end: Callable[[], None]) -> None:
        super().__init__()
        self._begin, self._end = begin, end
        self.steps: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        is_trial = isinstance(getattr(record, "news", None), TrialEnded)
        if is_trial and not self.steps:
            self._begin()
            self.steps.append("begun")
        elif self.steps == ["begun"] and "finished trials are kept" in record.getMessage():
            self.steps.append("given up")
        elif is_trial and self.steps[1:2] == ["given up"]:
            self.steps.append("a trial")
            if self.steps.count("a trial") == 2:
                self._end()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> dict[str, Any]:
    """What one process records of the study."""
    return recorded(tuned_in(tmp_path_factory.mktemp("alone"), empty_store, LONG_STUDY, engine="fit").store)


@pytest.fixture
def long_study(small_study: Path) -> Path:
    small_study.write_text(LONG_STUDY)
    return small_study


@pytest.fixture
def proxies() -> Iterator[list[CutProxy]]:
    made: list[CutProxy] = []
    yield made
    for proxy in made:
        proxy.close()


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """The folder of the second worker of the cluster, on a file system without room for the data; root may mount it."""
    with small_disk_at(tmp_path / "cluster" / "store-of-w2", "16k") as folder:
        yield folder


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxies: list[CutProxy]) -> Iterator[Cluster]:
    """A cluster whose second worker reaches the scheduler through a proxy."""
    folder = tmp_path / "cluster"
    folder.mkdir(exist_ok=True)
    started = Cluster(folder, workers=1)
    proxies.append(CutProxy(int(started.address.rpartition(":")[2])))
    started.workers.append(started.add_worker("w2", scheduler=f"tls://127.0.0.1:{proxies[0].port}"))
    for name, value in started.tls.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NIGHTUNE_DASK", started.address)
    monkeypatch.setattr(cluster_crew, "SILENCE_SECONDS", SILENCE_SECONDS)
    dask.config.refresh()
    yield started
    started.close()
    monkeypatch.undo()
    dask.config.refresh()


def send_to_machine(cluster: Cluster, number: signal.Signals) -> None:
    """Send a signal to Dask's second worker and to its training process."""
    nanny = psutil.Process(cluster.workers[1].pid)
    for process in nanny.children(recursive=True):
        with suppress(psutil.Error):
            process.send_signal(number)


@pytest.mark.parametrize("fault", ["the machine hangs", "the worker hangs", "the network is cut"])
def test_a_worker_that_returns_late_loses_and_doubles_nothing(
    fault: str, cluster: Cluster, proxies: list[CutProxy], long_study: Path, store_root: Path, alone: dict[str, Any]
) -> None:
    from nightune.flows.tune import tune

    def of_worker(number: signal.Signals) -> None:
        psutil.Process(cluster.workers[1].pid).children()[-1].send_signal(number)

    begin, end = {
        "the machine hangs": (
            lambda: send_to_machine(cluster, signal.SIGSTOP),
            lambda: send_to_machine(cluster, signal.SIGCONT),
        ),
        "the worker hangs": (lambda: of_worker(signal.SIGSTOP), lambda: of_worker(signal.SIGCONT)),
        "the network is cut": (proxies[0].cut, proxies[0].heal),
    }[fault]
    watch = WorkerFault(begin, end)
    logging.getLogger("nightune").addHandler(watch)
    try:
        report = tune(long_study, engine="fit")
    finally:
        logging.getLogger("nightune").removeHandler(watch)
        end()
    assert watch.steps[:4] == ["begun", "given up", "a trial", "a trial"], cluster.log()
    assert len(report.results) == 12
    cluster.wait_until_idle(60)
    assert recorded(store_root) == alone


def test_workers_wait_for_a_tracking_server_that_is_away(
    cluster: Cluster,
    long_study: Path,
    tracking_server: TrackingServer,
    proxy: FaultyProxy,
    alone: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from nightune.flows.tune import tune

    monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.address)

    def away() -> None:
        proxy.fault = Fault.CLOSE
        threading.Timer(SILENCE_SECONDS, lambda: setattr(proxy, "fault", Fault.NONE)).start()

    watch = WorkerFault(away, lambda: None)
    logging.getLogger("nightune").addHandler(watch)
    try:
        report = tune(long_study, engine="fit")
    finally:
        logging.getLogger("nightune").removeHandler(watch)
    assert watch.steps == ["begun"]
    assert len(report.results) == 12
    assert recorded(tracking_server.folder) == alone


def test_a_worker_whose_disk_is_full_is_left_out(
    full_disk: Path, cluster: Cluster, long_study: Path, store_root: Path, alone: dict[str, Any]
) -> None:
    from nightune.flows.tune import tune

    report = tune(long_study, engine="fit")
    assert len(report.results) == 12
    assert recorded(store_root) == alone
    assert not [path for path in full_disk.glob("sent-data/*") if path.is_dir()]


def test_a_local_worker_that_hangs_is_replaced(
    long_study: Path, store_root: Path, alone: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from nightune.flows.tune import tune

    monkeypatch.setattr(local_crew, "HANG_SECONDS", SILENCE_SECONDS)
    stopped: list[psutil.Process] = []

    def hang() -> None:
        stopped.append(own_workers()[0])
        stopped[0].suspend()

    watch = WorkerFault(hang, lambda: None)
    logging.getLogger("nightune").addHandler(watch)
    try:
        report = tune(long_study, engine="fit", workers=2)
    finally:
        logging.getLogger("nightune").removeHandler(watch)
    assert "given up" in watch.steps
    assert not stopped[0].is_running()
    assert len(report.results) == 12
    assert recorded(store_root) == alone
