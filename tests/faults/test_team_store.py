"""docs/stores.md: PostgreSQL under MLflow, artifacts in S3 through MLflow's server, keys at the server only.

The servers are real, except S3: moto answers from memory, so that durability is not tested.
"""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from nightune.tasks import doctor
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.tracking.registry import registry
from nightune.tasks.tracking.registry.damages import damaged_versions
from nightune.tasks.tracking.store import first_contact, names
from nightune.tasks.tracking.store.errors import StoreError
from nightune.tasks.tracking.store.store import Store, client, open_store, study_experiment
from nightune.tasks.tracking.sweeps.sweeps import Sweep, finish_sweep, open_sweep
from nightune.tasks.tracking.trials.checkpoints import fetch_checkpoint
from nightune.tasks.tracking.trials.prune import prune
from nightune.tasks.tracking.trials.snapshots import drop_snapshots, fetch_snapshots
from nightune.tasks.tracking.trials.trial_log import TrialLog
from nightune.tasks.tracking.trials.trials import finished_trials
from nightune.tuning.trial import Status, Trial
from tests.faults.team_store import (
    ACCESS_KEY,
    BUCKET,
    PASSWORD,
    SECRET_KEY,
    TeamStore,
    team_store,
)
from tests.tasks.conftest import SmallStudy, data, result_of

__all__ = ["data", "team_store"]

pytestmark = pytest.mark.slow
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD")


@pytest.fixture
def store(team_store: TeamStore, tmp_path: Path) -> Store:
    """A training machine: it knows the server's address, and has no key of a database or a bucket."""
    assert not [name for name in KEYS if name in os.environ]
    return open_store(tmp_path / "mlruns", team_store.mlflow.address)


def study_named(name: str, folder: Path) -> SmallStudy:
    path = folder / f"{name}.toml"
    path.write_text("question = 'Which rate is best?'\n")
    return SmallStudy(path, name=name)


def swept(store: Store, name: str, data: PreparedData, trials: int = 3) -> Sweep:
    """A sweep of a study with finished trials, the best first, each with a checkpoint."""
    folder = store.root.parent
    checkpoint = folder / "model.keras"
    checkpoint.write_bytes(b"weights" * 100)
    sweep = open_sweep(store, study_named(name, folder), "data-1", False, trials)  # type: ignore[arg-type]
    for number in range(trials):
        trial = Trial(number, {"optimizer": "adam"}, seed=number, key=f"{number:016x}")
        log = TrialLog(store, sweep, trial, {}, data)
        log.log_epoch(1, {"loss": 1.0, "val_loss": 1.0})
        log.finish(result_of(trial, objective=0.1 * (1 + number), epochs=1, best_epoch=1), checkpoint)
    return sweep


def test_a_trial_is_written_to_postgresql_and_its_files_to_s3_by_the_server_alone(
    team_store: TeamStore, store: Store, data: PreparedData, tmp_path: Path
) -> None:
    sweep = swept(store, "written", data, trials=1)
    result = finished_trials(store, sweep)[f"{0:016x}"]
    assert (result.objective, result.status) == (0.1, Status.COMPLETED)
    assert fetch_checkpoint(store, result.run_id, tmp_path).read_bytes() == b"weights" * 100
    mine = [key for key in team_store.s3.keys(BUCKET) if result.run_id in key]
    assert [key.endswith("artifacts/checkpoint/model.keras") for key in mine] == [True]
    assert not list(store.root.rglob("*.keras"))


def test_snapshots_are_replaced_and_dropped_in_s3(
    team_store: TeamStore, store: Store, data: PreparedData, tmp_path: Path
) -> None:
    sweep = open_sweep(store, study_named("halted", tmp_path), "data-1", False, 1)  # type: ignore[arg-type]
    log = TrialLog(store, sweep, Trial(0, {"optimizer": "adam"}, seed=0, key="a" * 16), {}, data)
    for epoch in (1, 2):
        file = tmp_path / f"{epoch:06}.npz"
        file.write_bytes(b"%d" % epoch)
        log.keep(file, epoch)
    kept = [file.read_bytes() for file in fetch_snapshots(store, log.kept_run, tmp_path / "fetched")]
    assert kept == [b"2"]
    drop_snapshots(store, log.kept_run)
    assert not [key for key in team_store.s3.keys(BUCKET) if log.kept_run in key]


def test_a_version_is_registered_fetched_and_rolled_back(store: Store, data: PreparedData, tmp_path: Path) -> None:
    sweep = swept(store, "served", data, trials=2)
    folder = tmp_path / "version"
    folder.mkdir()
    for number, result in enumerate(finished_trials(store, sweep).values(), start=1):
        (folder / "MLmodel").write_text(f"version {number}")
        tags = {names.SWEEP: sweep.id, names.TRIAL_KEY: result.trial.key, names.VERDICT: "promoted"}
        made = registry.register(store, "served", sweep, result.run_id, folder, tags)
        history = registry.extended_history(made, "promoted", "it is better")
        registry.set_tags(store, made, {**history, **({names.PREVIOUS_CHAMPION: "1"} if number == 2 else {})})
        registry.set_alias(store, "served", registry.CHAMPION, number)
    fetched = registry.fetch_version(store, registry.versions(store, "served")[1], tmp_path / "fetched")
    assert (fetched / "MLmodel").read_text() == "version 2"
    mine = [version for version in registry.all_versions(store) if version.model == "served"]
    assert mine == registry.versions(store, "served")
    left, taken = registry.roll_back(store, "served", "a test")
    assert (left.number, taken.number) == (2, 1)
    assert list(damaged_versions(store)) == []


def test_doctor_finds_a_version_whose_files_are_gone_from_s3(
    team_store: TeamStore, store: Store, data: PreparedData, tmp_path: Path
) -> None:
    sweep = swept(store, "gone", data, trials=1)
    (tmp_path / "version").mkdir()
    (tmp_path / "version" / "MLmodel").write_text("version 1")
    tags = {names.SWEEP: sweep.id, names.TRIAL_KEY: f"{0:016x}"}
    run_id = finished_trials(store, sweep)[f"{0:016x}"].run_id
    registry.register(store, "gone", sweep, run_id, tmp_path / "version", tags)
    assert [problem for model, problem in damaged_versions(store) if model == "gone"] == []
    team_store.s3.delete(BUCKET, "MLmodel", client(store).get_run(run_id).data.tags[names.LOGGED_MODEL])
    problems = [problem for model, problem in damaged_versions(store) if model == "gone"]
    assert ["missing" in problem for problem in problems] == [True]


def test_pruning_deletes_the_checkpoints_in_s3_and_doctor_is_content(
    team_store: TeamStore, store: Store, data: PreparedData
) -> None:
    sweep = finish_sweep(store, swept(store, "pruned", data), "", [])
    held = {result.trial.number: result.run_id for result in finished_trials(store, sweep).values()}
    pruned = prune(store, "pruned", keep=1, is_dry=False)
    assert (pruned.trials, pruned.bytes, pruned.kept) == (2, 2 * 700, 1)
    keys = " ".join(team_store.s3.keys(BUCKET))
    assert [run_id in keys for _, run_id in sorted(held.items())] == [True, False, False]
    subjects = {finding.subject: finding for finding in doctor.examine(store)}
    assert "tracking server" in subjects["store"].text
    assert "pruned" not in subjects


def test_two_studies_write_at_once(store: Store, data: PreparedData) -> None:
    with ThreadPoolExecutor(2) as pool:
        sweeps = list(pool.map(lambda name: swept(store, name, data, trials=4), ("left", "right")))
    assert [len(finished_trials(store, sweep)) for sweep in sweeps] == [4, 4]
    assert sweeps[0].experiment_id != sweeps[1].experiment_id


def test_machines_that_start_a_study_at_once_share_its_experiment(store: Store) -> None:
    together = threading.Barrier(4)

    def start(_: int) -> str:
        together.wait()
        return study_experiment(store, "shared")

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(start, range(4)))) == 1


def test_a_trial_waits_for_a_database_that_restarts(
    team_store: TeamStore, store: Store, data: PreparedData, caplog: pytest.LogCaptureFixture
) -> None:
    sweep = swept(store, "restarted", data, trials=1)
    team_store.postgresql.stop("immediate")
    threading.Timer(1.0, team_store.postgresql.start).start()
    trial = Trial(1, {"optimizer": "adam"}, seed=1, key="b" * 16)
    TrialLog(store, sweep, trial, {}, data).finish(result_of(trial), None)
    assert "waiting for it" in caplog.text
    runs = client(store).search_runs([sweep.experiment_id], names.tag_equals(names.TRIAL_KEY, trial.key))
    assert [run.info.status for run in runs] == ["FINISHED"]


def test_a_text_with_a_character_that_postgresql_refuses_is_stored_with_another_one(
    store: Store, data: PreparedData
) -> None:
    """The server's error would be retried as a fault of the server, for five minutes."""
    sweep = swept(store, "odd", data, trials=1)
    trial = Trial(1, {"optimizer": "a\0b"}, seed=1, key="c" * 16)
    failed = result_of(trial, status=Status.FAILED, message="cannot read a\0b", best_epoch=0)
    run_id = TrialLog(store, sweep, trial, {}, data).finish(failed, None)
    run = client(store).get_run(run_id)
    assert (run.data.params["optimizer"], run.data.tags[names.MESSAGE]) == ("a\ufffdb", "cannot read a\ufffdb")
    assert finished_trials(store, sweep)[trial.key].trial.params == {"optimizer": "a\0b"}


def test_no_secret_is_in_a_log_a_command_line_or_the_store(
    team_store: TeamStore, store: Store, data: PreparedData
) -> None:
    swept(store, "secret", data, trials=1)
    server = team_store.mlflow.process
    assert server is not None
    processes = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
    lines = [" ".join(process.cmdline()) for process in processes]
    texts = [path.read_bytes() for path in store.root.rglob("*") if path.is_file()]
    texts += [team_store.mlflow.log.read_bytes(), *map(str.encode, lines)]
    assert team_store.mlflow.log.stat().st_size > 0
    held = [text for text in texts if any(each.encode() in text for each in (PASSWORD, SECRET_KEY, ACCESS_KEY))]
    assert held == []


def test_a_database_that_refuses_is_reported_at_once_without_its_password(
    team_store: TeamStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_contact, "_reached", set())
    place = f"127.0.0.1:{team_store.postgresql.port}"
    with pytest.raises(StoreError, match="password") as wrong:
        open_store(tmp_path, f"postgresql://nightune:{PASSWORD}-wrong@{place}/mlflow")
    with pytest.raises(StoreError, match="weeds") as missing:
        open_store(tmp_path, f"postgresql://nightune:{PASSWORD}@{place}/weeds")
    assert PASSWORD not in f"{wrong.value} {missing.value}"
    assert place in str(wrong.value)


def test_a_database_that_is_named_directly_has_its_artifacts_in_the_store(
    team_store: TeamStore, data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    address = f"postgresql://nightune@127.0.0.1:{team_store.postgresql.port}/mlflow"
    root = tmp_path / "mlruns"
    store = open_store(root, address)
    sweep = swept(store, "direct", data, trials=1)
    assert len(list((root / "artifacts" / "direct").rglob("model.keras"))) == 1
    assert [run for run in doctor._lost_checkpoints(store) if run.subject == "direct"] == []
    next((root / "artifacts" / "direct").rglob("model.keras")).unlink()
    assert [run.subject for run in doctor._lost_checkpoints(store)] == ["direct"]
    assert sweep.experiment_id == study_experiment(store, "direct")


def test_a_path_that_is_too_long_for_the_database_is_refused(
    team_store: TeamStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    address = f"postgresql://nightune@127.0.0.1:{team_store.postgresql.port}/mlflow"
    store = open_store(tmp_path / ("deep" * 30) / "mlruns", address)
    with pytest.raises(StoreError, match="NIGHTUNE_STORE"):
        study_experiment(store, "deep")
