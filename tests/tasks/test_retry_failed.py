"""Failed trials are tried again where code or packages differ from those of their failure, or on request."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from nightune.tasks import retry_failed as module
from nightune.tasks.load_study import load_study
from nightune.tasks.prepare_data import prepare_data
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.propose_trials import propose_trials
from nightune.tasks.reporting.read_report import read_report
from nightune.tasks.retry_failed import retry_failed, trials_to_retry
from nightune.tasks.setting import Setting
from nightune.tasks.start_sweep import already_finished, start_sweep
from nightune.tasks.tracking.store.store import Store, client, open_store
from nightune.tasks.tracking.sweeps.engines import record_engine
from nightune.tasks.tracking.sweeps.failures import write_failures
from nightune.tasks.tracking.sweeps.find_sweeps import find_sweep
from nightune.tasks.tracking.sweeps.sweeps import Sweep, finish_sweep, interrupt_sweep, open_sweep
from nightune.tasks.tracking.trials import failed_runs as packages
from nightune.tasks.tracking.trials.damages import damaged_runs
from nightune.tasks.tracking.trials.trial_log import TrialLog
from nightune.tasks.tracking.trials.trials import finished_trials
from nightune.tasks.trial.crash_log import open_crash_log
from nightune.tuning.errors import StudyError
from nightune.tuning.study.study import Study
from nightune.tuning.trial import Status, Trial
from tests.flows.conftest import SMALL_STUDY
from tests.tasks.conftest import result_of

NET = """
import keras


def build(input_shape, output_size):
    return keras.Sequential([keras.Input(input_shape), keras.layers.Dense(output_size)])
"""


@dataclass(frozen=True)
class Failed:
    """A complete sweep of four trials, of which the first two have failed."""

    study: Study
    store: Store
    data: PreparedData
    sweep: Sweep

    def start(self, retry: bool = False, engine: str = "auto", trials: int | None = None) -> Setting:
        study = load_study(self.study.path, trials=trials)
        return start_sweep.fn(self.store, study, self.data, engine, False, retry)

    def trials(self, setting: Setting) -> list[Trial]:
        (bracket,) = setting.study.brackets
        return propose_trials.fn(setting.study, 0, self.data, bracket, [])


@pytest.fixture
def failed(store_root: Path, tmp_path: Path) -> Failed:
    (tmp_path / "net.py").write_text(NET)
    path = tmp_path / "flowers.toml"
    path.write_text(SMALL_STUDY.replace('"mlp"\nunits = [[4]]', '"net.py:build"'))
    study, store = load_study(path), open_store(store_root)
    data = prepare_data.fn(study, store.root)
    sweep = record_engine(store, open_sweep(store, study, data.version, False, 4), "fit", "as asked")
    failed = Failed(study, store, data, sweep)
    for trial in failed.trials(Setting(store, sweep, study, data)):
        result = result_of(trial)
        if trial.number < 2:
            changes = {"status": Status.FAILED, "objective": math.nan, "best_epoch": 0, "epochs": 0}
            result = result_of(trial, **changes, message=f"ImportError {trial.number}: No module named 'absent'")
        TrialLog(store, sweep, trial, {}, data).finish(result, None)
    finish_sweep(store, sweep, "", [])
    return failed


def missing(failed: Failed, setting: Setting) -> list[int]:
    trials = failed.trials(setting)
    finished = {result.trial.key for result in already_finished(setting, trials)}
    return [trial.number for trial in trials if trial.key not in finished]


def test_nothing_is_tried_again_where_nothing_changed(failed: Failed, caplog: pytest.LogCaptureFixture) -> None:
    setting = failed.start()
    assert setting.sweep.is_complete
    assert missing(failed, setting) == []
    assert "2 failed trials are not tried again" in caplog.text
    assert "--retry-failed" in caplog.text


def other_packages(monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(packages, "installed_packages", lambda: "others")
    return False


def found_module(monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(module, "_is_installed", lambda name: name == "absent")
    return False


def a_request(_: pytest.MonkeyPatch) -> bool:
    return True


@pytest.mark.parametrize("change", [other_packages, found_module, a_request])
def test_failed_trials_are_trained_again_in_the_same_sweep(
    failed: Failed, monkeypatch: pytest.MonkeyPatch, change: Callable[[pytest.MonkeyPatch], bool]
) -> None:
    before = finished_trials(failed.store, failed.sweep)
    setting = failed.start(change(monkeypatch))
    assert setting.sweep.id == failed.sweep.id
    assert not setting.sweep.is_complete
    assert missing(failed, setting) == [0, 1]
    assert len(read_report(failed.store, "flowers", setting.sweep).results) == 2
    retired = [result.run_id for result in before.values() if result.status is Status.FAILED]
    tags = [client(failed.store).get_run(run_id).data.tags for run_id in retired]
    assert {each["nightune.kind"] for each in tags} == {"retried"}
    assert all(each["nightune.retried_because"] for each in tags)


def edit_code(failed: Failed) -> None:
    (failed.study.path.parent / "net.py").write_text(NET + "# corrected\n")


def delete_successes(failed: Failed) -> None:
    for result in finished_trials(failed.store, failed.sweep).values():
        if result.status is Status.COMPLETED:
            client(failed.store).delete_run(result.run_id)


def test_failed_trials_of_other_code_leave_the_sweep(failed: Failed) -> None:
    delete_successes(failed)
    edit_code(failed)
    setting = failed.start()
    assert setting.sweep.id == failed.sweep.id
    assert not setting.sweep.is_complete
    assert finished_trials(failed.store, setting.sweep) == {}


@pytest.mark.parametrize("is_settled", [True, False])
def test_after_an_edit_a_complete_sweep_is_left_alone_and_the_next_one_begins(
    failed: Failed, is_settled: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Else the results of two versions of the code would stand in one leaderboard."""
    if is_settled:
        client(failed.store).set_tag(failed.sweep.run_id, "nightune.confirmed_trial", "2")
    edit_code(failed)
    setting = failed.start()
    assert setting.sweep.id == "flowers-1"
    assert "flowers-0 was trained by other code" in caplog.text
    assert len(finished_trials(failed.store, failed.sweep)) == 4
    assert missing(failed, setting) == [0, 1, 2, 3]


def test_after_an_edit_an_unfinished_sweep_trains_its_trials_again(
    failed: Failed, caplog: pytest.LogCaptureFixture
) -> None:
    interrupt_sweep(failed.store, failed.sweep)
    edit_code(failed)
    with caplog.at_level("INFO", "nightune"):
        setting = failed.start()
    assert setting.sweep.id == failed.sweep.id
    assert finished_trials(failed.store, setting.sweep) == {}
    assert "4 trials are trained again: the code changed" in caplog.text


@pytest.mark.parametrize("options", [{"retry": True}, {"trials": 8}])
def test_a_refused_engine_changes_nothing(failed: Failed, options: dict[str, Any]) -> None:
    with pytest.raises(StudyError, match="a sweep keeps its engine"):
        failed.start(engine="compiled", **options)
    sweep = find_sweep(failed.store, "flowers")
    assert (sweep.is_complete, sweep.asked_trials) == (True, 4)
    assert len(finished_trials(failed.store, sweep)) == 4


def test_failed_replicates_are_tried_again(failed: Failed) -> None:
    results = finished_trials(failed.store, failed.sweep).values()
    best = next(result for result in results if result.status is Status.COMPLETED)
    replicate = replace(best.trial, key="replicate", replicate=1, replicate_of=best.run_id)
    changes = {"status": Status.FAILED, "objective": math.nan, "best_epoch": 0, "epochs": 0}
    TrialLog(failed.store, failed.sweep, replicate, {}, failed.data).finish(result_of(replicate, **changes), None)
    failed.start(retry=True)
    assert finished_trials(failed.store, failed.sweep, "replicate") == {}


def test_a_retried_trial_is_no_damage(failed: Failed) -> None:
    failed.start(retry=True)
    assert list(damaged_runs(failed.store, failed.sweep.experiment_id)) == []


@pytest.mark.parametrize("params", ["broken", "{}", None])
def test_a_damaged_record_of_a_failed_trial_ends_no_command(failed: Failed, params: str | None) -> None:
    for result in finished_trials(failed.store, failed.sweep).values():
        if result.status is Status.FAILED and params is None:
            client(failed.store).delete_tag(result.run_id, "nightune.status")
            client(failed.store).delete_tag(result.run_id, "nightune.packages")
        elif result.status is Status.FAILED:
            client(failed.store).set_tag(result.run_id, "nightune.params", params)
    client(failed.store).log_text(failed.sweep.run_id, "{", "environment.json")
    assert failed.start().sweep.id == failed.sweep.id


def test_crashes_of_retried_trials_are_forgotten_and_those_of_others_kept(failed: Failed) -> None:
    log = open_crash_log(failed.store.root, "flowers")
    results = {result.trial.number: result for result in finished_trials(failed.store, failed.sweep).values()}
    for number in (0, 2):
        context = log.training(results[number].trial.key, number)
        context.__enter__()
        log.record_limit("over its time limit")
        assert log.record_crash(os.getpid(), "SIGKILL") is not None
    failed.start(retry=True)
    assert log.final_crash(results[0].trial.key) is None
    assert log.final_crash(results[2].trial.key) is not None


def test_a_sweep_in_which_every_trial_failed_chooses_its_engine_anew(failed: Failed) -> None:
    delete_successes(failed)
    reasons = trials_to_retry(failed.store, failed.study, failed.sweep, failed.data, True)
    assert failed.sweep.engine == "fit"
    assert retry_failed(failed.store, failed.study, failed.sweep, reasons).engine == ""
    assert find_sweep(failed.store, "flowers").engine == ""  # also for the next process, after a kill


def test_a_confirmed_sweep_keeps_its_failed_trials(failed: Failed, caplog: pytest.LogCaptureFixture) -> None:
    client(failed.store).set_tag(failed.sweep.run_id, "nightune.confirmed_trial", "2")
    setting = failed.start(retry=True)
    assert setting.sweep.is_complete
    assert missing(failed, setting) == []
    assert "flowers-0 is confirmed" in caplog.text


def test_the_sweeps_run_says_why_trials_failed_until_they_are_tried_again(failed: Failed, tmp_path: Path) -> None:
    results = list(finished_trials(failed.store, failed.sweep).values())
    write_failures(failed.store, failed.sweep, results)
    tags = client(failed.store).get_run(failed.sweep.run_id).data.tags
    assert tags["nightune.failures"] == "2 trials failed (0, 1): ImportError 0: No module named 'absent'"
    path = client(failed.store).download_artifacts(failed.sweep.run_id, "failures.json", str(tmp_path))
    (group,) = json.loads(Path(path).read_text())["groups"]
    assert group["trials"] == [0, 1]
    write_failures(failed.store, failed.sweep, [each for each in results if each.status is Status.COMPLETED])
    assert "nightune.failures" not in client(failed.store).get_run(failed.sweep.run_id).data.tags


CRASHING = """
import os, pathlib, signal, sys
from nightune.tasks.trial.crash_log import open_crash_log
calls = pathlib.Path(sys.argv[1]) / "calls"
calls.write_text((calls.read_text() if calls.exists() else "") + " ".join(sys.argv[2:]) + ";")
if calls.read_text().count(";") == 1:
    context = open_crash_log(pathlib.Path(sys.argv[1]), "flowers").training("key", 1)
    context.__enter__()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_restart_after_a_crash_does_not_request_the_retry_again(tmp_path: Path) -> None:
    """It would clear the counts of crashes, and restart for ever."""
    from nightune.flows.runtime.supervisor import supervise

    command = [sys.executable, "-c", CRASHING, str(tmp_path), "tune", "--retry-failed", "--json"]
    assert supervise(command, open_crash_log(tmp_path, "flowers"), lambda text: None) == 0
    assert (tmp_path / "calls").read_text() == "tune --retry-failed --json;tune --json;"


FORKED = """
import os, pathlib, signal, sys
import typer
from nightune.flows.runtime import supervisor
from nightune.tasks.trial.crash_log import open_crash_log

class Study:
    name = "flowers"

started_as = os.getpid()
root = pathlib.Path(os.environ["NIGHTUNE_STORE"])
with supervisor.process_of_its_own():
    print("once", end=" ")
    try:
        supervisor.supervised(lambda: Study)
    except typer.Exit as end:
        sys.exit(end.exit_code)
is_copy = os.getpid() != started_as
print("copy" if is_copy else "new", os.environ["NIGHTUNE_SUPERVISOR"] == str(os.getppid()), os.getpgrp() == os.getpid())
sys.stdout.flush()
if is_copy:
    context = open_crash_log(root, "flowers").training("key", 1)
    context.__enter__()
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(4)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each child is a new process")
def test_the_first_child_is_a_copy_and_those_after_a_crash_are_new_processes(tmp_path: Path) -> None:
    environment = os.environ | {"NIGHTUNE_STORE": str(tmp_path)}
    command = [sys.executable, "-c", FORKED]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 4, done.stderr
    assert done.stdout == "once copy True True\nonce new True True\n"
    assert "attempt 1 of 3" in done.stderr
