"""The workers of a cluster as a feed sees them: they come, die and leave; each death counts for the right trial."""

import pickle
from concurrent.futures import CancelledError
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask
import pytest

from nightune.models.errors import InputError
from nightune.models.kept_code import KeptCode
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.setting import Setting
from nightune.tasks.tracking.store.errors import StoreLostError
from nightune.tasks.tracking.store.store import Store
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tasks.tracking.trials.attempts import own_attempt, run_of_trial
from nightune.tasks.tracking.trials.deaths import deaths_of
from nightune.tasks.tracking.trials.trial_log import TrialLog
from nightune.tasks.workers import cluster_crew as module
from nightune.tasks.workers import sent_files
from nightune.tasks.workers.cluster_crew import ClusterCrew, ClusterWorker
from nightune.tasks.workers.contract import FUTILE_STARTS, WorkersLostError
from nightune.tasks.workers.dask_client import DaskClient
from nightune.tasks.workers.host import Died, StartLostError, UnusableWorkerError
from nightune.tasks.workers.job import Job
from nightune.tasks.workers.parcels import pack
from nightune.tasks.workers.silence import Silence
from nightune.tasks.workers.travel import Travelling
from nightune.tuning.trial import Trial
from tests.tasks.conftest import SmallStudy

FIRST, SECOND = "tcp://a:1", "tcp://b:1"


class InventedClient:
    """A client of a cluster whose tasks end at once: leases, and whether a worker sees the flow's folder."""

    status = "running"

    def __init__(self, *places: str) -> None:
        self.places = list(places)
        self.scheduler = SimpleNamespace(identity=None)
        self.last_seen = dict.fromkeys(places, 0.0)
        self.leases: list[str] = []
        self.released: list[str] = []
        self.messages: list[bytes] = []
        self.errors: dict[str, list[Exception]] = {}  # of the next leases, by place
        self.unanswered: dict[str, Exception] = {}  # what asking a worker raises, by place

    def sync(self, _function: Any, **_options: Any) -> dict[str, Any]:
        return {"workers": {place: {"name": place[6:], "last_seen": self.last_seen[place]} for place in self.places}}

    def submit(self, function: Any, *values: Any, workers: list[str], **_options: Any) -> Any:
        is_lease = function is module.begin
        self.leases += workers if is_lease else []
        self.messages += values[1:2] if function is module.train_at else []
        errors = self.errors.get(workers[0], []) if is_lease else []
        error = errors.pop(0) if errors else None

        def answer(value: Any) -> Any:
            if workers[0] in self.unanswered:
                raise self.unanswered[workers[0]]
            return value

        return SimpleNamespace(
            status="finished" if error is None else "error",
            result=lambda timeout: answer(True),
            exception=lambda timeout: answer(error),
            release=lambda: self.released.append(workers[0]),
            add_done_callback=lambda _end: None,
        )


@pytest.fixture
def client() -> InventedClient:
    return InventedClient(FIRST, SECOND)


@pytest.fixture
def crew(client: InventedClient) -> ClusterCrew:
    made = ClusterCrew("tcp://scheduler:8786", "module")
    made._dask, made._sending = DaskClient(client, made.inbox, 120), SimpleNamespace(mark=None)  # type: ignore[assignment]
    made._alone_since = module.time.monotonic()
    look(made)
    return made


@pytest.fixture
def setting(store: Store, sweep: Sweep, study: SmallStudy, data: PreparedData) -> Setting:
    return Setting(store, sweep, study, data)  # type: ignore[arg-type]


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


def test_a_worker_that_hangs_is_missed_until_it_is_heard_again(crew: ClusterCrew, client: InventedClient) -> None:
    now = [0.0]
    crew._connected()._silence = Silence(lambda: now[0])
    for now[0] in range(0, 140, 10):
        client.last_seen[SECOND] = now[0]
        look(crew)
    (hanging,) = crew.dead()
    assert hanging.at == FIRST
    crew.replace(hanging, is_futile=False)
    assert look(crew) == ["b:1"]
    client.last_seen[FIRST] = now[0]
    assert look(crew) == ["b:1", "a:1"]


@pytest.mark.parametrize("error", [TimeoutError(), CancelledError()])
@pytest.mark.parametrize("lease", [None, StartLostError("SIGKILL")])
def test_a_worker_that_hangs_before_it_has_answered_is_undecided_until_it_is_missed(
    error: Exception, lease: Exception | None, crew: ClusterCrew, client: InventedClient
) -> None:
    crew.workers.clear()
    client.unanswered = {FIRST: error}
    client.errors = {FIRST: [lease] if lease else []}
    now = [0.0]
    crew._connected()._silence = Silence(lambda: now[0])
    for now[0] in range(0, 130, 10):
        client.last_seen[SECOND] = now[0]
        assert look(crew) == ["b:1"]
        assert crew.dead() == []
    now[0] += 10
    client.last_seen[SECOND] = now[0]
    look(crew)
    assert [worker.at for worker in crew.dead()] == [FIRST]


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


@pytest.mark.parametrize("fault", [OSError("No space left"), StoreLostError("has not answered")])
def test_a_fault_of_a_worker_s_machine_is_no_death_of_a_trial(
    fault: Exception,
    crew: ClusterCrew,
    setting: Setting,
    trial: Trial,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    from nightune.tasks.workers import hosted

    def full(_travelling: Travelling, _root: Path) -> None:
        raise fault

    monkeypatch.setattr(Travelling, "arrived", full)
    job = job_of(replace(setting, study=None), trial)
    nothing = pack("sent-data/none", tmp_path, {})
    worker = ClusterWorker("a:1", at=FIRST)
    worker.death = pickle.loads(
        hosted._answer(pickle.dumps(Travelling(job, nothing, nothing)), tmp_path, lambda _body: None)
    )
    TrialLog(setting.store, setting.sweep, trial, {}, setting.data, attempt=job.attempt).open()
    cause, crash = crew.crash(worker, setting, job)
    assert (str(fault) in cause, crash) == (True, None)
    assert deaths_of(run_of_trial(setting.store, setting.sweep, trial.key)).count == 0


@pytest.mark.parametrize(
    ("address", "artifacts", "is_file"),
    [
        ("sqlite:///x.db", "file:///x/artifacts", True),
        ("postgresql://host/mlflow", "file:///x/artifacts", True),
        ("http://host:5000", "/x/artifacts", True),
        ("http://host:5000", "mlflow-artifacts:/1/2/artifacts", False),
    ],
)
def test_results_are_in_files_unless_a_server_keeps_records_and_artifacts(
    address: str, artifacts: str, is_file: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = SimpleNamespace(info=SimpleNamespace(artifact_uri=artifacts))
    monkeypatch.setattr(module, "client", lambda _store: SimpleNamespace(get_run=lambda _run_id: run))
    assert module._tracking_of(Store(tmp_path, address), "run").is_file is is_file


def test_code_that_a_later_round_uses_is_sent_too(
    crew: ClusterCrew,
    client: InventedClient,
    setting: Setting,
    trial: Trial,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    code = KeptCode({}, {tmp_path / "first.py": b"first"})
    monkeypatch.setattr(sent_files, "kept_code", lambda: code)
    setting.data.folder.mkdir(parents=True)
    (setting.data.folder / "description.json").write_text("{}")
    crew._files = files = sent_files.SentFiles(setting)

    def sent() -> list[str]:
        crew.send(crew.workers[0], job_of(replace(setting, study=None), trial))
        return sorted(Path(name).name for name in pickle.loads(client.messages[-1]).code.digests)

    assert sent() == ["first.py", "flowers.toml"]
    before = files.code
    assert (sent(), files.code) == (["first.py", "flowers.toml"], before)
    files.bring_to_others()
    code.sources[tmp_path / "second.py"] = b"second"
    assert sent() == ["first.py", "flowers.toml", "second.py"]
    assert files.code.run_id == setting.sweep.run_id
    assert module.client(setting.store).list_artifacts(setting.sweep.run_id, f"workers/{files.code.name}")


def test_tls_without_a_certificate_is_refused_with_the_remedy() -> None:
    crew = ClusterCrew("tls://127.0.0.1:9", "module")
    with pytest.raises(InputError, match="certificates"):
        crew._connect()
    crew.close()


def test_the_variables_of_deploy_are_those_that_dask_reads() -> None:
    from distributed.security import Security

    lines = (Path(__file__).parents[2] / "deploy/dask.env").read_text().splitlines()
    read = dask.config.collect_env(dict(line.split("=", 1) for line in lines if line[0] != "#"))
    with dask.config.set(dask.config.merge(dask.config.config, read)):
        security = Security()
    assert security.require_encryption
    for role in ("scheduler", "worker", "client"):
        files = security.get_tls_config_for_role(role)
        assert {Path(str(file)).name for file in files.values() if file} >= {"dask-cert.pem", "dask-key.pem"}
