"""Only checkpoints of inferior trials are pruned; a store can be checked, repaired and moved."""

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from nightune.tasks import doctor
from nightune.tasks.doctor import examine, repair
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.tracking.store.errors import StoreError, StudyBusyError
from nightune.tasks.tracking.store.lock import study_lock
from nightune.tasks.tracking.store.names import CHECKPOINT, LEASE, MLFLOW_PARENT
from nightune.tasks.tracking.store.store import Store, client, open_store
from nightune.tasks.tracking.sweeps.find_sweeps import find_sweep
from nightune.tasks.tracking.sweeps.sweeps import Sweep, finish_sweep
from nightune.tasks.tracking.trials.damages import damaged_runs
from nightune.tasks.tracking.trials.failed_runs import retire
from nightune.tasks.tracking.trials.prune import prune
from nightune.tasks.tracking.trials.trial_log import TrialLog
from nightune.tasks.tracking.trials.trials import finished_trials
from nightune.tuning.trial import Trial, TrialResult
from tests.tasks.conftest import result_of


@pytest.fixture
def results(store: Store, sweep: Sweep, data: PreparedData, tmp_path: Path) -> list[TrialResult]:
    """Five finished trials with checkpoints, the best first, in a complete sweep."""
    checkpoint = tmp_path / "model.keras"
    checkpoint.write_bytes(b"weights" * 100)
    for number in range(5):
        trial = Trial(number, {"optimizer": "adam"}, seed=number, key=f"{number:016x}")
        log = TrialLog(store, sweep, trial, {}, data)
        log.log_epoch(1, {"loss": 1.0, "val_loss": 1.0})
        log.finish(result_of(trial, objective=0.1 * (1 + number), epochs=1, best_epoch=1), checkpoint)
    finish_sweep(store, sweep, "", [])
    return sorted(finished_trials(store, sweep).values(), key=lambda result: result.objective)


def checkpoints(store: Store, results: list[TrialResult]) -> list[bool]:
    return [bool(client(store).list_artifacts(result.run_id, "checkpoint")) for result in results]


def test_pruning_keeps_the_best_and_reports_the_freed_space(store: Store, results: list[TrialResult]) -> None:
    pruned = prune(store, "flowers", keep=2, is_dry=False)
    assert checkpoints(store, results) == [True, True, False, False, False]
    assert (pruned.trials, pruned.bytes, pruned.kept) == (3, 3 * 700, 2)
    assert prune(store, "flowers", keep=2, is_dry=False).trials == 0
    assert len(finished_trials(store, find_sweep(store, "flowers"))) == 5


def test_a_dry_run_deletes_nothing(store: Store, results: list[TrialResult]) -> None:
    assert prune(store, "flowers", keep=1, is_dry=True).bytes == 4 * 700
    assert checkpoints(store, results) == [True] * 5


def test_registered_and_confirmed_trials_keep_their_checkpoints(store: Store, results: list[TrialResult]) -> None:
    plain = client(store)
    plain.create_registered_model("flowers")
    plain.create_model_version("flowers", f"runs:/{results[3].run_id}/checkpoint", run_id=results[3].run_id)
    experiment = find_sweep(store, "flowers").experiment_id
    plain.create_run(experiment, tags={"nightune.kind": "replicate", "mlflow.parentRunId": results[4].run_id})
    prune(store, "flowers", keep=1, is_dry=False)
    assert checkpoints(store, results) == [True, False, False, True, True]


def test_trials_of_an_unfinished_sweep_keep_their_checkpoints(store: Store, results: list[TrialResult]) -> None:
    client(store).set_tag(find_sweep(store, "flowers").run_id, "nightune.status", "interrupted")
    prune(store, "flowers", keep=1, is_dry=False)
    assert checkpoints(store, results) == [True] * 5


def test_pruning_an_unknown_study_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="weeds: no sweep"):
        prune(store, "weeds", keep=1, is_dry=False)


def test_a_consistent_store_needs_no_repair(store: Store, results: list[TrialResult]) -> None:
    findings = examine(store)
    assert [finding for finding in findings if not finding.is_well] == []
    assert {"store", "disk"} <= {finding.subject for finding in findings}


def test_an_audit_is_under_its_trial_even_if_that_is_trained_again(
    store: Store, results: list[TrialResult], sweep: Sweep, data: PreparedData
) -> None:
    found = results[4]
    audited = replace(found.trial, key="a" * 16, replicate_of=found.run_id, is_audit=True)
    run = TrialLog(store, sweep, audited, {}, data).finish(result_of(audited, epochs=1, best_epoch=1), None)
    retire(store, {found.run_id: "other code"})
    assert list(damaged_runs(store, sweep.experiment_id)) == []
    client(store).set_tag(run, MLFLOW_PARENT, sweep.run_id)
    damages = list(damaged_runs(store, sweep.experiment_id))
    assert len(damages) == 1
    assert "the run of their trial" in damages[0]


def test_leftovers_of_a_kill_are_found_and_repaired(
    store: Store, sweep: Sweep, data: PreparedData, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = TrialLog(store, sweep, trial, {}, data)
    log.open()
    (store.root / "locks").mkdir(exist_ok=True)
    for note in ("flowers.json", "flowers.training.json"):
        (store.root / "locks" / note).write_text("{}")
    (store.root / "data" / ".unfinished-abc").mkdir(parents=True)
    monkeypatch.setattr(doctor, "MAXIMUM_WRITE_SECONDS", -1.0)
    found = [finding for finding in examine(store) if not finding.is_well]
    assert len(found) == 4
    assert repair(found) == []
    assert [finding for finding in examine(store) if not finding.is_well] == []
    assert client(store).get_run(log._run_id).info.status == "KILLED"


def test_work_of_a_running_process_is_left_alone(store: Store, sweep: Sweep, data: PreparedData, trial: Trial) -> None:
    TrialLog(store, sweep, trial, {}, data).open()
    with study_lock(store, "flowers"):
        assert [finding for finding in examine(store) if not finding.is_well] == []


def test_work_of_another_machine_and_of_other_programs_is_left_alone(
    store: Store, sweep: Sweep, data: PreparedData, trial: Trial
) -> None:
    others = MlflowClient(store.tracking_uri)
    others.create_run(others.create_experiment("not a study"))
    log = TrialLog(store, sweep, trial, {}, data)
    log.open()
    lease = {"token": "theirs", "host": "other", "process": 1, "beat": time.time()}
    client(store).set_experiment_tag(sweep.experiment_id, LEASE, json.dumps(lease))
    assert [finding for finding in examine(store) if not finding.is_well] == []
    client(store).set_experiment_tag(sweep.experiment_id, LEASE, "")
    found = [finding for finding in examine(store) if not finding.is_well]
    assert [finding.subject for finding in found] == ["flowers"]
    with study_lock(store, "flowers"), pytest.raises(StudyBusyError, match="running"):
        repair(found)
    assert client(store).get_run(log._run_id).info.status == "RUNNING"


def test_a_lost_checkpoint_is_found_and_a_pruned_one_is_not_lost(store: Store, results: list[TrialResult]) -> None:
    prune(store, "flowers", keep=2, is_dry=False)
    run = client(store).get_run(results[0].run_id)
    (Path(run.info.artifact_uri.removeprefix("file://")) / CHECKPOINT).unlink()
    left = repair([finding for finding in examine(store) if not finding.is_well])
    assert [finding.subject for finding in left] == ["flowers"]
    assert "1 trials have lost" in left[0].text


def test_a_store_that_was_moved_opens_with_all_its_files(
    store: Store, results: list[TrialResult], tmp_path: Path
) -> None:
    moved = tmp_path / "another folder" / "mlruns"
    shutil.copytree(store.root, moved)
    shutil.rmtree(store.root)
    there = open_store(moved)
    copies = [Path(client(there).download_artifacts(result.run_id, CHECKPOINT)) for result in results]
    assert [copy.stat().st_size for copy in copies] == [700] * 5
    assert client(there).get_run(results[0].run_id).info.artifact_uri.startswith(moved.as_uri())
    assert open_store(moved) == there
