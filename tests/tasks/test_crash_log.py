"""A trial that crashes its process is recorded, and given up after three crashes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nightune.tasks.trial.crash_log import CrashLog, open_crash_log


@pytest.fixture
def attempts(tmp_path: Path) -> CrashLog:
    return open_crash_log(tmp_path, "flowers")


NEVER_LEFT: list[object] = []  # a garbage-collected generator would leave its block


def crash_in(attempts: CrashLog, key: str, number: int = 4) -> None:
    context = attempts.training(key, number)
    context.__enter__()
    NEVER_LEFT.append(context)


def test_a_trial_is_given_up_after_its_third_crash(attempts: CrashLog) -> None:
    for count in (1, 2, 3):
        assert attempts.final_crash("abc") is None
        crash_in(attempts, "abc")
        death = attempts.record_crash(os.getpid(), "SIGABRT")
        assert death is not None
        assert (death.trial, death.count, death.is_final) == (4, count, count == 3)
    final = attempts.final_crash("abc")
    assert final is not None
    assert final.message == "crashed its process 3 times: SIGABRT"
    assert attempts.final_crash("other") is None


def test_a_trial_over_a_limit_is_given_up_at_once(attempts: CrashLog) -> None:
    crash_in(attempts, "abc")
    attempts.record_limit("over its time limit: limits.seconds is 5")
    attempts.record_crash(os.getpid(), "SIGKILL")
    death = attempts.final_crash("abc")
    assert death is not None
    assert death.message == "over its time limit: limits.seconds is 5"


def test_a_crash_between_trials_is_not_attributed_to_a_trial(attempts: CrashLog) -> None:
    with attempts.training("abc", 4):
        pass
    assert attempts.record_crash(os.getpid(), "SIGABRT") is None


def test_the_crash_of_another_process_is_not_counted(attempts: CrashLog) -> None:
    crash_in(attempts, "abc")
    assert attempts.record_crash(os.getpid() + 1, "SIGKILL") is None
    crash_in(attempts, "abc")
    death = attempts.record_crash(os.getpid(), "SIGKILL")
    assert death is not None
    assert death.count == 1


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_a_partially_written_crash_log_is_ignored(attempts: CrashLog, tmp_path: Path, text: str) -> None:
    (tmp_path / "locks" / "flowers.deaths.json").write_text(text)
    (tmp_path / "locks" / "flowers.training.json").write_text(text)
    assert attempts.final_crash("abc") is None
    assert attempts.record_crash(os.getpid(), "SIGABRT") is None


def test_a_complete_sweep_leaves_no_crash_log(attempts: CrashLog, tmp_path: Path) -> None:
    crash_in(attempts, "abc")
    attempts.record_crash(os.getpid(), "SIGABRT")
    attempts.clear()
    assert list((tmp_path / "locks").iterdir()) == []


def test_a_crash_without_a_parent_is_counted_once_its_process_is_gone(attempts: CrashLog) -> None:
    crash_in(attempts, "abc")
    assert attempts.record_unsupervised_crash("its process is gone") is None  # this process is alive
    noted = attempts.folder / "flowers.training.json"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    noted.write_text(noted.read_text().replace(str(os.getpid()), str(gone.pid)))
    death = attempts.record_unsupervised_crash("its process is gone")
    assert death is not None
    assert (death.subject, death.message) == ("trial 4", "crashed its process: its process is gone")
    assert attempts.record_unsupervised_crash("its process is gone") is None


def test_a_process_stopped_on_purpose_is_not_attributed_to_a_trial(attempts: CrashLog) -> None:
    crash_in(attempts, "abc")
    attempts.clear_training()
    assert attempts.record_crash(os.getpid(), "SIGKILL") is None


def test_crashes_in_the_choice_of_the_engine_are_counted_separately_from_those_of_trials(attempts: CrashLog) -> None:
    context = attempts.choosing_engine()
    context.__enter__()
    NEVER_LEFT.append(context)
    assert attempts.engine_crashes() == 0
    death = attempts.record_crash(os.getpid(), "SIGABRT")
    assert death is not None
    assert (death.subject, attempts.engine_crashes()) == ("engine choice", 1)
