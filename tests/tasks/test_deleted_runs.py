"""Runs deleted, restored or moved on MLflow's pages: no number is used twice, no sweep takes another one's trials."""

from dataclasses import replace
from typing import Any

import pytest

from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.tracking.store.client_process import plain_client
from nightune.tasks.tracking.store.names import LAST_SWEEP_NUMBER
from nightune.tasks.tracking.store.retry import RetryingClient
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps import numbers
from nightune.tasks.tracking.sweeps.find_sweeps import find_sweep
from nightune.tasks.tracking.sweeps.sweeps import Sweep, finish_sweep, interrupt_sweep, open_sweep
from nightune.tasks.tracking.trials.rungs import rung_results
from nightune.tasks.tracking.trials.runs import unfinished_runs
from nightune.tasks.tracking.trials.trial_log import TrialLog
from nightune.tasks.tracking.trials.trials import finished_trials
from nightune.tuning.trial import Trial
from tests.tasks.conftest import SmallStudy, result_of


def train(store: Store, sweep: Sweep, trial: Trial, data: PreparedData) -> str:
    log = TrialLog(store, sweep, trial, {}, data)
    log.log_epoch(1, {"loss": 0.5, "val_loss": 0.5})
    return log.finish(result_of(trial), None)


def next_sweep(store: Store, study: SmallStudy, sweep: Sweep) -> Sweep:
    finish_sweep(store, sweep, "", [])
    return open_sweep(store, study, "data-1", fresh=True, planned_trials=1)  # type: ignore[arg-type]


def started(store: Store, study: SmallStudy) -> Sweep:
    return open_sweep(store, study, "data-1", fresh=False, planned_trials=1)  # type: ignore[arg-type]


def test_a_sweep_whose_run_is_deleted_keeps_its_number_and_its_trials(
    store: Store, study: SmallStudy, sweep: Sweep, data: PreparedData, trial: Trial
) -> None:
    train(store, sweep, trial, data)
    client(store).delete_run(sweep.run_id)
    later = started(store, study)
    assert later.id == "flowers-1"
    assert finished_trials(store, later) == rung_results(store, later, 2) == {}


@pytest.mark.parametrize("deleted", [[1], [0, 1], [0]])
def test_numbers_of_deleted_sweeps_are_not_used_again(
    store: Store, study: SmallStudy, sweep: Sweep, deleted: list[int]
) -> None:
    sweeps = [sweep, next_sweep(store, study, sweep)]
    finish_sweep(store, sweeps[1], "", [])
    for number in deleted:
        client(store).delete_run(sweeps[number].run_id)
    assert open_sweep(store, study, "data-1", fresh=True, planned_trials=1).number == 2  # type: ignore[arg-type]


def test_the_number_of_a_sweep_that_was_removed_for_good_is_not_used_again(
    store: Store, study: SmallStudy, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = next_sweep(store, study, sweep)
    plain_client(store.tracking_uri)._tracking_client.store._hard_delete_run(later.run_id)  # as `mlflow gc` does
    monkeypatch.setattr(numbers, "_trial_ids", pytest.fail)  # it sorts all trials of the experiment
    assert open_sweep(store, study, "data-1", fresh=True, planned_trials=1).number == 2  # type: ignore[arg-type]


def test_the_number_of_a_sweep_whose_start_was_killed_is_not_used_again(
    store: Store, study: SmallStudy, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = RetryingClient.create_run

    def killed(*values: Any, **options: Any) -> None:
        run_id = create(*values, **options).info.run_id
        plain_client(store.tracking_uri)._tracking_client.store._hard_delete_run(run_id)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RetryingClient, "create_run", killed)
        with pytest.raises(KeyboardInterrupt):
            next_sweep(store, study, sweep)
    assert open_sweep(store, study, "data-1", fresh=True, planned_trials=1).number == 2  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [4, 9, 10, 123])
def test_numbers_of_trials_without_a_sweep_are_not_used_again(
    store: Store, study: SmallStudy, sweep: Sweep, data: PreparedData, trial: Trial, number: int
) -> None:
    for other in (2, number):
        gone = replace(sweep, id=f"flowers-{other}", run_id="gone")
        orphan = train(store, gone, replace(trial, key=f"{other:016x}"), data)
    client(store).delete_run(orphan)
    if number == 4:
        client(store).set_experiment_tag(sweep.experiment_id, LAST_SWEEP_NUMBER, "changed by hand")
    else:
        client(store).delete_experiment_tag(sweep.experiment_id, LAST_SWEEP_NUMBER)  # of a store of an earlier version
    assert next_sweep(store, study, sweep).number == number + 1


def test_numbers_of_registered_versions_and_of_a_renamed_experiment_are_not_used_again(
    store: Store, study: SmallStudy, sweep: Sweep
) -> None:
    client(store).rename_experiment(sweep.experiment_id, "flowers of last year")
    later = started(store, study)
    assert later.id == "flowers-1"
    assert later.experiment_id != sweep.experiment_id
    client(store).create_registered_model("flowers")
    client(store).create_model_version("flowers", "file:///gone", tags={"nightune.sweep": "flowers-6"})
    assert next_sweep(store, study, later).number == 7


def test_a_number_changed_by_hand_does_not_free_another(store: Store, study: SmallStudy, sweep: Sweep) -> None:
    later = next_sweep(store, study, sweep)
    client(store).set_tag(later.run_id, "nightune.sweep_number", "many")
    client(store).delete_run(later.run_id)
    assert open_sweep(store, study, "data-1", fresh=True, planned_trials=1).number == 2  # type: ignore[arg-type]


def test_sweeps_of_one_id_that_an_earlier_version_made_do_not_share_trials(
    store: Store, study: SmallStudy, sweep: Sweep, data: PreparedData, trial: Trial
) -> None:
    own = train(store, sweep, trial, data)
    later = next_sweep(store, study, sweep)
    for name, value in (("nightune.sweep", "flowers-0"), ("nightune.sweep_number", "0")):
        client(store).set_tag(later.run_id, name, value)
    twin = find_sweep(store, "flowers", "flowers-0")
    assert twin.run_id == later.run_id  # the newer one
    assert finished_trials(store, twin) == {}
    assert [result.run_id for result in finished_trials(store, sweep).values()] == [own]


def test_replicates_belong_to_the_sweep_of_their_trial(
    store: Store, sweep: Sweep, data: PreparedData, trial: Trial
) -> None:
    run_id = train(store, sweep, trial, data)
    replicate = replace(trial, key="b" * 16, replicate=1, replicate_of=run_id)
    train(store, sweep, replicate, data)
    train(store, sweep, replace(replicate, key="c" * 16, replicate_of="gone"), data)
    assert list(finished_trials(store, sweep, "replicate")) == ["b" * 16]
    client(store).delete_run(run_id)
    assert finished_trials(store, sweep, "replicate") == {}
    client(store).restore_run(run_id)
    assert list(finished_trials(store, sweep, "replicate")) == ["b" * 16]


def test_a_deleted_trial_is_trained_again_and_restored_counts_once(
    store: Store, sweep: Sweep, data: PreparedData, trial: Trial
) -> None:
    first = train(store, sweep, trial, data)
    client(store).delete_run(first)
    assert finished_trials(store, sweep) == {}
    assert train(store, sweep, trial, data) != first
    client(store).restore_run(first)
    assert list(finished_trials(store, sweep)) == [trial.key]


def test_an_unfinished_trial_of_another_sweep_is_not_resumed(
    store: Store, study: SmallStudy, sweep: Sweep, data: PreparedData, trial: Trial
) -> None:
    stray = TrialLog(store, replace(sweep, run_id="gone"), trial, {}, data)
    stray.open()
    assert unfinished_runs(store, sweep) == {}
    own = TrialLog(store, sweep, trial, {}, data)
    own.open()
    assert {key: run.info.run_id for key, run in unfinished_runs(store, sweep).items()} == {trial.key: own._run_id}
    interrupt_sweep(store, sweep)
    assert started(store, study).run_id == sweep.run_id
