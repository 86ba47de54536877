"""A trial over its time or memory is stopped between epochs, and its process is ended if it hangs in one."""

import time

import pytest

from nightune.tasks.trial import limits as trial_limits
from nightune.tasks.trial.limits import TrialLimitError, Watch, watched
from nightune.tuning.study.sections import Limits


def test_a_trial_within_its_limits_continues() -> None:
    with watched(Limits(seconds=600, memory_gib=1000), None) as watch:
        watch.check()


def test_a_trial_over_its_time_is_ended_between_epochs() -> None:
    with watched(Limits(seconds=0.01), None) as watch:
        time.sleep(0.05)
        with pytest.raises(TrialLimitError, match=r"time limit: limits\.seconds is 0\.01"):
            watch.check()


def test_a_trial_over_its_memory_is_ended_between_epochs() -> None:
    with (
        watched(Limits(memory_gib=0.001), None) as watch,
        pytest.raises(TrialLimitError, match=r"GiB, limits\.memory_gib is 0\.001"),
    ):
        watch.check()


def test_a_trial_that_hangs_in_an_epoch_is_ended_with_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_limits, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(trial_limits, "GRACE_SECONDS", 0.05)
    ended: list[str] = []
    watch = Watch(Limits(seconds=0.02))

    def end_process(reason: str) -> None:
        ended.append(reason)
        watch.stop()

    watch.end_process = end_process
    watch.run()
    assert ended == ["over its time limit: limits.seconds is 0.02"]
