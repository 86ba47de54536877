"""Failed trials are tried again where code or packages differ from those of their failure, or on request."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from nightune.tasks import retry_failed as module
from nightune.tasks.load_study import load_study
from nightune.tasks.prepare_data import prepare_data
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.propose_trials import propose_trials
from nightune.tasks.retry_failed import retry_failed, trials_to_retry
from nightune.tasks.setting import Setting
from nightune.tasks.start_sweep import already_finished, start_sweep
from nightune.tasks.tracking.store.store import Store, client, open_store
from nightune.tasks.tracking.sweeps.failures import write_failures
from nightune.tasks.tracking.sweeps.sweeps import Sweep, finish_sweep, open_sweep, record_engine
from nightune.tasks.tracking.trials import failed_runs as packages
from nightune.tasks.tracking.trials.trial_log import open_trial
from nightune.tasks.tracking.trials.trials import finished_trials
from nightune.tasks.write_report import read_report
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

    def start(self, retry: bool = False) -> Setting:
        return start_sweep.fn(self.store, load_study(self.study.path), self.data, "auto", False, retry)

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
        open_trial(store, sweep, trial, {}, data).finish(result, None)
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


def test_failed_trials_of_other_code_leave_the_sweep(failed: Failed) -> None:
    (failed.study.path.parent / "net.py").write_text(NET + "# corrected\n")
    setting = failed.start()
    assert not setting.sweep.is_complete
    statuses = {result.status for result in finished_trials(failed.store, setting.sweep).values()}
    assert statuses == {Status.COMPLETED}


def test_a_sweep_in_which_every_trial_failed_chooses_its_engine_anew(failed: Failed) -> None:
    for result in finished_trials(failed.store, failed.sweep).values():
        if result.status is Status.COMPLETED:
            client(failed.store).delete_run(result.run_id)
    reasons = trials_to_retry(failed.store, failed.study, failed.sweep, failed.data, True)
    assert failed.sweep.engine == "fit"
    assert retry_failed(failed.store, failed.study, failed.sweep, reasons).engine == ""


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
