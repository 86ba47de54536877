"""Trials in MLflow: complete, found by key, never twice."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.entities import packed
from nightune.tasks.tracking.store.errors import RefusedRequestError
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tasks.tracking.trials.trial_log import TrialLog
from nightune.tasks.tracking.trials.trials import copy_as_reused, finished_trials, reconcile, reusable_trials
from nightune.tuning.trial import Expectation, Status, Trial, TrialResult
from tests.tasks.conftest import result_of

TAGS = {"nightune.engine": "fit"}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "model.keras"
    path.write_bytes(b"weights")
    return path


def train(store: Store, sweep: Sweep, trial: Trial, data: PreparedData, checkpoint: Path | None) -> TrialResult:
    log = TrialLog(store, sweep, trial, TAGS, data)
    for epoch, loss in enumerate((0.5, 0.25), start=1):
        log.log_epoch(
            epoch, {"loss": loss, "val_loss": loss, "updates": 2.0 * epoch, "examples": 6.0 * epoch, "seconds": 0.1}
        )
    result = result_of(trial)
    return replace(result, run_id=log.finish(result, checkpoint))


def history(store: Store, run_id: str, name: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in client(store).get_metric_history(run_id, name)]


def test_a_finished_trial_is_read_back_unchanged(
    store: Store, sweep: Sweep, trial: Trial, data: PreparedData, checkpoint: Path
) -> None:
    result = train(store, sweep, trial, data, checkpoint)
    assert finished_trials(store, sweep) == {trial.key: result}
    types = {name: type(value) for name, value in finished_trials(store, sweep)[trial.key].trial.params.items()}
    assert types == {"optimizer": str, "learning_rate.peak": float, "nesterov": bool, "model.units": list, "size": int}


def test_a_trial_says_of_which_epoch_its_numbers_are_and_keeps_what_people_wrote(
    store: Store, sweep: Sweep, trial: Trial, data: PreparedData
) -> None:
    run_id = train(store, sweep, trial, data, None).run_id
    note = client(store).get_run(run_id).data.tags[names.MLFLOW_NOTE]
    result = result_of(trial)
    assert note.startswith(f"Best epoch {result.best_epoch} of {result.epochs}: val_loss {result.objective:.5g}")
    client(store).set_tag(run_id, names.MLFLOW_NOTE, "Mine.")
    client(store).set_tag(run_id, names.STATUS, "interrupted")
    client(store).update_run(run_id, status="KILLED")
    assert train(store, sweep, trial, data, None).run_id == run_id
    assert client(store).get_run(run_id).data.tags[names.MLFLOW_NOTE] == "Mine."


def test_a_run_has_the_names_that_others_read(
    store: Store, sweep: Sweep, trial: Trial, data: PreparedData, checkpoint: Path
) -> None:
    run = client(store).get_run(train(store, sweep, trial, data, checkpoint).run_id)
    expected = {
        "mlflow.parentRunId": sweep.run_id,
        "nightune.kind": "trial",
        "nightune.sweep": "flowers-0",
        "nightune.trial_key": trial.key,
        "nightune.status": "completed",
        "nightune.engine": "fit",
        "nightune.attempt": "1",
    }
    assert expected.items() <= run.data.tags.items()
    assert run.data.params == {
        "optimizer": "adam",
        "learning_rate.peak": "0.1",
        "nesterov": "false",
        "model.units": "[8, 4]",
        "size": "3",
    }
    assert {"objective": 0.25, "best_epoch": 2, "epochs": 2, "seconds": 1.5}.items() <= run.data.metrics.items()
    assert history(store, run.info.run_id, "val_loss") == [(1, 0.5), (2, 0.25)]
    assert history(store, run.info.run_id, "seconds") == [(2, 1.5)]
    assert [entry.dataset.digest for entry in run.inputs.dataset_inputs] == ["data-1"]
    assert [file.path for file in client(store).list_artifacts(run.info.run_id, "checkpoint")] == [
        "checkpoint/model.keras"
    ]


def test_a_run_says_why_its_trial_was_proposed_and_a_changed_tag_only_loses_it(
    store: Store, sweep: Sweep, trial: Trial, data: PreparedData, checkpoint: Path
) -> None:
    expected = Expectation(0.1 + 0.2, 0.02, 12)
    run_id = train(store, sweep, replace(trial, proposed_by="gp", expected=expected), data, checkpoint).run_id
    client(store).set_tag(run_id, "nightune.promoted_to", "8")
    held = finished_trials(store, sweep)[trial.key].trial
    assert (held.proposed_by, held.expected, held.promoted_to) == ("gp", expected, 8)
    client(store).set_tag(run_id, "nightune.expected", '{"value": "x"}')
    client(store).set_tag(run_id, "nightune.promoted_to", "far")
    held = finished_trials(store, sweep)[trial.key].trial
    assert (held.proposed_by, held.expected, held.promoted_to) == ("gp", None, 0)


@pytest.mark.parametrize("killed_in", ["log_batch", "log_inputs", "set_terminated"])
def test_a_kill_while_a_trial_is_written_loses_and_repeats_nothing(
    store: Store,
    sweep: Sweep,
    trial: Trial,
    data: PreparedData,
    checkpoint: Path,
    killed_in: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(client(store)._client, killed_in, killed)
        with pytest.raises(KeyboardInterrupt):
            train(store, sweep, trial, data, checkpoint)
    run = client(store).get_run(train(store, sweep, trial, data, checkpoint).run_id)
    assert len(client(store).search_runs([sweep.experiment_id], "tags.`nightune.kind` = 'trial'")) == 1
    assert set(run.data.params) == set(trial.params)
    assert len(run.inputs.dataset_inputs) == 1
    for name, points in (("objective", [(2, 0.25)]), ("epochs", [(2, 2.0)]), ("val_loss", [(1, 0.5), (2, 0.25)])):
        assert history(store, run.info.run_id, name) == points


def test_an_epoch_is_written_completely_or_not_at_all() -> None:
    groups = [list(range(4)), list(range(5)), list(range(6)), [], list(range(20))]
    assert [len(chunk) for chunk in packed(groups, 10)] == [9, 6, 20]
    assert [each for chunk in packed(groups, 10) for each in chunk] == [each for group in groups for each in group]


def test_an_interrupted_trial_resumes_in_the_same_run_without_duplicate_points(
    store: Store, sweep: Sweep, trial: Trial, data: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("nightune.tasks.tracking.trials.trial_log.FLUSH_SECONDS", -1.0)
        killed = TrialLog(store, sweep, trial, TAGS, data)
        killed.log_epoch(1, {"loss": 0.5, "val_loss": 0.5})
    assert finished_trials(store, sweep) == {}
    result = train(store, sweep, trial, data, None)
    runs = client(store).search_runs([sweep.experiment_id], "tags.`nightune.kind` = 'trial'")
    assert [run.info.run_id for run in runs] == [result.run_id]
    assert runs[0].data.tags["nightune.attempt"] == "2"
    assert runs[0].info.status == "FINISHED"
    assert history(store, result.run_id, "val_loss") == [(1, 0.5), (2, 0.25)]


def test_a_run_that_only_looks_finished_is_not_read(
    store: Store, sweep: Sweep, trial: Trial, data: PreparedData
) -> None:
    log = TrialLog(store, sweep, trial, TAGS, data)
    log.log_epoch(1, {"loss": 0.5})
    log._flush([], [])
    run = client(store).search_runs([sweep.experiment_id], "tags.`nightune.kind` = 'trial'")[0]
    client(store).set_terminated(run.info.run_id, "FINISHED")
    assert finished_trials(store, sweep) == {}


def test_runs_that_a_dead_process_left_running_are_closed(
    store: Store, sweep: Sweep, trial: Trial, data: PreparedData
) -> None:
    TrialLog(store, sweep, trial, TAGS, data)._flush([], [])
    assert reconcile(store, sweep.experiment_id) == 1
    run = client(store).search_runs([sweep.experiment_id], "tags.`nightune.kind` = 'trial'")[0]
    assert (run.info.status, run.data.tags["nightune.status"]) == ("KILLED", "interrupted")


@pytest.mark.parametrize("is_killed", [True, False])
def test_a_trial_that_was_stopped_after_it_halted_at_a_rung_is_finished(
    is_killed: bool, store: Store, sweep: Sweep, trial: Trial, data: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = TrialLog(store, sweep, trial, TAGS, data)
    halted = replace(result_of(trial), status=Status.NOT_PROMOTED)
    with monkeypatch.context() as patch:
        patch.setattr("mlflow.MlflowClient.set_terminated", interrupted)
        with pytest.raises(KeyboardInterrupt):
            log.finish(halted, None)
    assert finished_trials(store, sweep) == {}
    if is_killed:
        reconcile(store, sweep.experiment_id)
    else:
        log.abandon()
    (found,) = finished_trials(store, sweep).values()
    assert (found.status, found.epochs, found.objective) == (halted.status, halted.epochs, halted.objective)


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_an_abandoned_trial_is_not_finished(store: Store, sweep: Sweep, trial: Trial, data: PreparedData) -> None:
    log = TrialLog(store, sweep, trial, TAGS, data)
    log._flush([], [])
    log.abandon()
    assert finished_trials(store, sweep) == {}


def test_a_trial_without_a_finite_epoch_has_no_objective(
    store: Store, sweep: Sweep, trial: Trial, data: PreparedData
) -> None:
    failed = result_of(trial, status=Status.FAILED, objective=math.nan, best_epoch=0, message="ValueError: no")
    run_id = TrialLog(store, sweep, trial, TAGS, data).finish(failed, None)
    read = finished_trials(store, sweep)[trial.key]
    assert (read.status, read.message, read.best_epoch) == (Status.FAILED, "ValueError: no", 0)
    assert math.isnan(read.objective)
    assert "objective" not in client(store).get_run(run_id).data.metrics
    assert client(store).get_run(run_id).info.status == "FAILED"


def test_infinity_is_logged_as_nan(store: Store, sweep: Sweep, trial: Trial, data: PreparedData) -> None:
    log = TrialLog(store, sweep, trial, TAGS, data)
    log.log_epoch(1, {"loss": math.inf})
    run_id = log.finish(result_of(trial, status=Status.DIVERGED), None)
    assert math.isnan(client(store).get_metric_history(run_id, "loss")[0].value)


def test_an_earlier_trial_is_reused_with_its_curves_and_checkpoint(
    store: Store, sweep: Sweep, trial: Trial, data: PreparedData, checkpoint: Path
) -> None:
    earlier = train(store, sweep, trial, data, checkpoint)
    later = replace(sweep, id="flowers-1", number=1)
    found = reusable_trials(store, later, [trial.key, "bbbbbbbbbbbbbbbb"])
    assert found == {trial.key: earlier}
    reused = copy_as_reused(store, later, replace(trial, number=4), earlier, data)
    assert reused.objective == earlier.objective
    assert reused.trial.number == 4
    run = client(store).get_run(reused.run_id)
    assert run.data.tags["nightune.reused_from"] == earlier.run_id
    assert history(store, reused.run_id, "val_loss") == [(1, 0.5), (2, 0.25)]
    assert client(store).list_artifacts(reused.run_id, "checkpoint")


def test_a_trial_without_its_checkpoint_is_not_reused_and_leaves_no_run(
    store: Store, sweep: Sweep, trial: Trial, data: PreparedData, checkpoint: Path
) -> None:
    earlier = train(store, sweep, trial, data, checkpoint)
    artifacts = Path(client(store).get_run(earlier.run_id).info.artifact_uri.removeprefix("file://"))
    (artifacts / "checkpoint" / "model.keras").unlink()
    later = replace(sweep, id="flowers-1", run_id="later")
    with pytest.raises(RefusedRequestError):
        copy_as_reused(store, later, trial, earlier, data)
    assert len(client(store).search_runs([sweep.experiment_id], "tags.`nightune.kind` = 'trial'")) == 1
