"""A Dask cluster trains the same trials to the same values as one process; what cannot is refused and named."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from nightune.models.errors import InputError
from nightune.tasks.reporting.events import TrialEnded
from nightune.tasks.tracking.store.store import open_store
from nightune.tasks.tracking.sweeps.ledgers import read_ledger
from nightune.tasks.workers import cluster_crew as module
from tests.cluster import Cluster
from tests.flows.test_workers import HALVING, recorded

RANDOM = 'method = "random"\ntrials = 4\nepochs = 2\n'

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("store_root")]

MODEL = """
import os
from pathlib import Path
import keras
import layers_of_ours

def build(input_shape, output_size, width: int = 4):
    units = int((Path(__file__).parent / "units.txt").read_text()) + width - 4
    return keras.Sequential([keras.Input(input_shape), layers_of_ours.dense(units), keras.layers.Dense(output_size)])
"""


@pytest.fixture(scope="module")
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of one worker, or of as many as a test asks for."""
    started = Cluster(tmp_path_factory.mktemp("cluster"), getattr(request, "param", 1))
    yield started
    started.close()


@pytest.fixture
def cluster(running: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """The cluster, with the variables that a command has: its address, and the certificate in Dask's configuration."""
    import dask

    for name, value in running.tls.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NIGHTUNE_DASK", running.address)
    dask.config.refresh()
    yield running
    monkeypatch.undo()
    dask.config.refresh()


@pytest.fixture
def own_model(small_study: Path) -> Path:
    """A study with a model of its own, which imports a file and reads another one."""
    folder = small_study.parent
    (folder / "net.py").write_text(MODEL)
    (folder / "layers_of_ours.py").write_text(
        "import keras\n\ndef dense(n):\n    return keras.layers.Dense(n, 'relu')\n"
    )
    (folder / "units.txt").write_text("4")
    small_study.write_text(small_study.read_text().replace('"mlp"\nunits = [[4]]', '"net.py:build"'))
    return small_study


@pytest.mark.usefixtures("prefect_server", "optimized_graphs")
def test_a_cluster_trains_what_one_process_does(
    cluster: Cluster, own_model: Path, store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_model.write_text(own_model.read_text().replace("trials = 4", "trials = 2"))
    require_equal_to_one_process(cluster, own_model, store_root, monkeypatch)


@pytest.mark.nights
@pytest.mark.parametrize("running", [2], indirect=True)
@pytest.mark.usefixtures("prefect_server", "optimized_graphs")
def test_a_cluster_trains_what_one_process_does_though_a_training_is_killed(
    cluster: Cluster, own_model: Path, store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_model.write_text(own_model.read_text().replace(RANDOM, HALVING))
    killer = _KillsOnce(cluster)
    logging.getLogger("nightune").addHandler(killer)
    try:
        require_equal_to_one_process(cluster, own_model, store_root, monkeypatch)
    finally:
        logging.getLogger("nightune").removeHandler(killer)
    assert killer.killed, cluster.log()


def require_equal_to_one_process(
    cluster: Cluster, own_model: Path, store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Train in the cluster and in this process; the results, what is recorded and what was sent are as they should."""
    from nightune.flows.tune import tune

    seen = _Processes()
    logging.getLogger("nightune").addHandler(seen)
    try:
        report = tune(own_model, engine="fit")
    finally:
        logging.getLogger("nightune").removeHandler(seen)
    assert seen.numbers, cluster.log()
    assert seen.numbers.isdisjoint({os.getpid()})
    cluster.wait_until_idle(10)
    ledger = read_ledger(open_store(store_root), report.sweep)
    assert ledger is not None
    assert ledger.has_all(report.results)
    assert ledger.sessions[0].is_cluster
    assert any(share.seconds > 0 for share in ledger.worker_shares)
    monkeypatch.setenv("NIGHTUNE_STORE", str(store_root.parent / "one"))
    monkeypatch.delenv("NIGHTUNE_DASK")
    alone = tune(own_model, engine="fit")
    assert [result.trial.key for result in report.results] == [result.trial.key for result in alone.results]
    assert recorded(store_root) == recorded(store_root.parent / "one")
    copies = [path for path in cluster.folder.glob("store-of-*/sent-data/*") if path.is_dir()]
    assert len(copies) == len(cluster.workers)
    assert not [file for copy in copies for file in copy.rglob("test*")]


class _Processes(logging.Handler):
    """Notes in which processes trials were trained."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers: set[int] = set()

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(getattr(record, "news", None), TrialEnded):
            self.numbers.add(record.process or 0)


class _KillsOnce(logging.Handler):
    """Kills a training process as soon as a trial has ended."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__()
        self._cluster = cluster
        self.killed: list[psutil.Process] = []

    def emit(self, record: logging.LogRecord) -> None:
        if not self.killed and isinstance(getattr(record, "news", None), TrialEnded):
            self.killed = self._cluster.trainings()[:1]
            self.killed[0].kill()


@pytest.mark.usefixtures("prefect_server")
def test_workers_with_another_version_are_refused_before_they_train(
    cluster: Cluster, small_study: Path, store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nightune.flows.tune import tune

    facts = module.shared_facts("tensorflow")
    monkeypatch.setattr(module, "shared_facts", lambda _backend: facts | {"keras": "3.0"})
    with pytest.raises(InputError, match=r"keras .*3\.0"):
        tune(small_study, engine="fit")
    assert cluster.trainings() == []
    assert recorded(store_root) == {}


@pytest.mark.usefixtures("prefect_server")
def test_a_scheduler_that_does_not_answer_is_named(small_study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nightune.flows.tune import tune

    monkeypatch.setattr(module, "CONNECT_SECONDS", 0.2)
    monkeypatch.setenv("NIGHTUNE_DASK", "tcp://127.0.0.1:9")
    with pytest.raises(InputError, match="dask scheduler"):
        tune(small_study, engine="fit")
