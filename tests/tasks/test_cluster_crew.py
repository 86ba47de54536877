"""The workers of a cluster as a feed sees them: they come, die and leave; each death counts for the right trial."""

from dataclasses import replace
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest

from nightune.models.errors import InputError
from nightune.models.kept_code import KeptCode
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.setting import Setting
from nightune.tasks.tracking.store.store import Store
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tasks.tracking.trials.attempts import own_attempt
from nightune.tasks.tracking.trials.trial_log import TrialLog
from nightune.tasks.workers import cluster as module
from nightune.tasks.workers.cluster import ClusterCrew, ClusterWorker
from nightune.tasks.workers.contract import FUTILE_STARTS, WorkersLostError
from nightune.tasks.workers.host import Died, StartLostError, UnusableWorkerError
from nightune.tasks.workers.job import Job
from nightune.tuning.trial import Trial
from tests.tasks.conftest import SmallStudy

FIRST, SECOND = "tcp://a:1", "tcp://b:1"


class InventedClient:
    """A client of a cluster whose tasks end at once: leases, and whether a worker sees the flow's folder."""

    status = "running"

    def __init__(self, *places: str) -> None:
        self.places = list(places)
        self.scheduler = SimpleNamespace(identity=None)
        self.leases: list[str] = []
        self.released: list[str] = []
        self.errors: dict[str, list[Exception]] = {}  # of the next leases, by place

    def sync(self, _function: Any, **_options: Any) -> dict[str, Any]:
        return {"workers": {place: {"name": place[6:]} for place in self.places}}

    def submit(self, function: Any, *_values: Any, workers: list[str], **_options: Any) -> Any:
        is_lease = function is module.begin
        self.leases += workers if is_lease else []
        errors = self.errors.get(workers[0], []) if is_lease else []
        error = errors.pop(0) if errors else None
        return SimpleNamespace(
            status="finished" if error is None else "error",
            result=lambda timeout: True,
            exception=lambda timeout: error,
            release=lambda: self.released.append(workers[0]),
        )


@pytest.fixture
def client() -> InventedClient:
    return InventedClient(FIRST, SECOND)


@pytest.fixture
def crew(client: InventedClient) -> ClusterCrew:
    made = ClusterCrew("tcp://scheduler:8786", "module")
    made._client, made._sending = client, SimpleNamespace(mark=None)  # type: ignore[assignment]
    made._alone_since = module.time.monotonic()
    look(made)
    return made


def look(crew: ClusterCrew) -> list[str]:
    """Look at the cluster now; return the workers that can train."""
    crew._looked_at = 0.0
    crew.join()
    return [worker.name for worker in crew.workers if worker.address]


def job_of(setting: Setting, *trials: Trial) -> Job:
    return Job(setting, trials, (), own_attempt(1), KeptCode(), 20, None, datetime(2026, 1, 1))


def test_workers_come_and_leave(crew: ClusterCrew, client: InventedClient) -> None:
    assert look(crew) == ["a:1", "b:1"]
    client.places.remove(FIRST)
    look(crew)
    (gone,) = crew.dead()
    crew.replace(gone, is_futile=True)
    assert look(crew) == ["b:1"]
    client.places.append(FIRST)
    assert look(crew) == ["b:1", "a:1"]
    assert client.leases == [FIRST, SECOND, FIRST]
    assert client.released == [FIRST]


def test_a_worker_whose_starts_are_futile_is_left_out_and_said(crew: ClusterCrew) -> None:
    for _ in range(FUTILE_STARTS):
        worker = next(each for each in crew.workers if each.at == FIRST)
        worker.death = Died("exit code 1")
        crew.replace(worker, is_futile=True)
    assert look(crew) == ["b:1"]
    assert "exit code 1" in crew._lost("")


def test_a_training_process_that_dies_while_it_starts_is_started_again_a_few_times(
    crew: ClusterCrew, client: InventedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that cannot train is refused at once."""
    monkeypatch.setattr(module, "POLL_SECONDS", 0.0)
    crew.workers.clear()
    client.leases.clear()
    client.errors = {FIRST: [StartLostError("SIGKILL")], SECOND: []}
    crew._wait_for_workers()
    assert sorted(worker.at for worker in crew.workers if worker.address) == [FIRST, SECOND]
    assert client.leases == [FIRST, SECOND, FIRST]
    for errors in ([StartLostError("SIGKILL")] * FUTILE_STARTS, [UnusableWorkerError("keras")]):
        client.leases.clear()
        client.errors[SECOND] = list(errors)
        client.places = [SECOND]
        crew.workers.clear()
        crew._refused.clear()
        with pytest.raises(InputError, match=str(errors[0])):
            crew._wait_for_workers()
        assert client.leases == [SECOND] * len(errors)


def test_a_cluster_without_workers_ends_the_sweep_after_a_while(
    crew: ClusterCrew, client: InventedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.places.clear()
    look(crew)
    for worker in crew.dead():
        crew.replace(worker, is_futile=False)
    look(crew)
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.0)
    with pytest.raises(WorkersLostError, match="dask worker"):
        look(crew)


@pytest.mark.parametrize("status", ["connecting", "closed"])
def test_a_lost_scheduler_ends_the_sweep_and_counts_no_death(
    status: str, crew: ClusterCrew, client: InventedClient
) -> None:
    look(crew)
    client.status = status  # all futures are cancelled then, which looks like the death of each worker
    with pytest.raises(WorkersLostError, match="scheduler has gone"):
        crew.cut_off(crew.workers[0])
    with pytest.raises(WorkersLostError, match="scheduler has gone"):
        look(crew)
    assert crew.dead() == []
    crew.workers[0].death = Died("it has left the cluster")
    with pytest.raises(WorkersLostError, match="scheduler has gone"):
        crew.dead()


def test_deaths_count_for_the_trial_in_training(
    crew: ClusterCrew, store: Store, sweep: Sweep, study: SmallStudy, data: PreparedData, trial: Trial
) -> None:
    """By the record of a host that lives, else by the runs that the lost attempt holds open."""
    setting = Setting(store, sweep, study, data)  # type: ignore[arg-type]
    trials = [replace(trial, number=number, key=f"key-{number}") for number in range(3)]
    job = job_of(setting, *trials)
    worker = ClusterWorker("a:1", at=FIRST)
    worker.death = Died("it has left the cluster")
    assert crew.crash(worker, setting, job)[1] is None
    for each in trials[:2]:
        TrialLog(store, sweep, each, {}, data, attempt=job.attempt).open()
    _, lost = crew.crash(worker, setting, job)
    assert lost is not None
    assert (lost.trial, lost.count, lost.is_final) == (1, 1, False)
    worker.death = Died("SIGKILL", "key-0", limit="limits.seconds is 5")
    _, over = crew.crash(worker, setting, job)
    assert over is not None
    assert (over.trial, over.reason, over.is_final) == (0, "limits.seconds is 5", True)
    assert crew.crash(worker, setting, None) == ("SIGKILL", None)


def test_tls_without_a_certificate_is_refused_with_the_remedy() -> None:
    crew = ClusterCrew("tls://127.0.0.1:9", "module")
    with pytest.raises(InputError, match="certificates"):
        crew._connect()
    crew.close()
