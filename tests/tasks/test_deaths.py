"""Deaths on a trial's run: the trial in training is found, counted over machines, and given up after the third."""

from dataclasses import replace

import pytest

from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tasks.tracking.trials.attempts import Attempt, OvertakenError, run_of_trial
from nightune.tasks.tracking.trials.deaths import Deaths, count_death, deaths_of, trial_in_training
from nightune.tasks.tracking.trials.trial_log import TrialLog
from nightune.tasks.workers.job import crash_of
from nightune.tuning.trial import Trial
from tests.tasks.conftest import result_of

FIRST, SECOND, THIRD, LAST = (Attempt("flow-1", number) for number in (1, 2, 3, 4))


@pytest.fixture
def trials(trial: Trial) -> list[Trial]:
    return [replace(trial, number=number, key=f"key-{number}") for number in range(3)]


def opened(store: Store, sweep: Sweep, trial: Trial, data: PreparedData, attempt: Attempt) -> TrialLog:
    log = TrialLog(store, sweep, trial, {}, data, attempt=attempt)
    log.open()
    return log


def test_the_last_open_trial_of_a_lost_cohort_was_in_training(
    store: Store, sweep: Sweep, trials: list[Trial], data: PreparedData
) -> None:
    assert trial_in_training(store, sweep, trials, FIRST) is None
    opened(store, sweep, trials[0], data, FIRST)  # trained, and still written
    opened(store, sweep, trials[1], data, FIRST)
    assert trial_in_training(store, sweep, trials, FIRST) == trials[1]
    assert trial_in_training(store, sweep, trials, SECOND) is None


def test_a_trial_is_given_up_after_its_third_death_wherever_it_was(
    store: Store, sweep: Sweep, trial: Trial, data: PreparedData
) -> None:
    cut_off = opened(store, sweep, trial, data, FIRST)
    for count, attempt in enumerate((SECOND, THIRD, LAST), start=1):
        counted = count_death(store, sweep, trial, Deaths(1, "SIGKILL"), attempt)
        assert counted == Deaths(count, "SIGKILL", is_final=count == 3)
        run = run_of_trial(store, sweep, trial.key)
        assert run is not None
        assert (run.info.status, deaths_of(run)) == ("KILLED", counted)
        crash = crash_of(trial, run)
        assert (crash is not None) == (count == 3)
        opened(store, sweep, trial, data, attempt)
    with pytest.raises(OvertakenError):
        cut_off.finish(result_of(trial), None)


def test_a_limit_is_final_at_once_and_a_finished_trial_counts_nothing(
    store: Store, sweep: Sweep, trial: Trial, data: PreparedData
) -> None:
    assert count_death(store, sweep, trial, Deaths(1, "SIGKILL"), SECOND) is None
    log = opened(store, sweep, trial, data, FIRST)
    counted = count_death(store, sweep, trial, Deaths(1, "limits.seconds", is_final=True), SECOND)
    assert counted == Deaths(1, "limits.seconds", is_final=True)
    log = opened(store, sweep, trial, data, SECOND)
    run_id = log.finish(result_of(trial), None)
    assert count_death(store, sweep, trial, Deaths(1, "SIGKILL"), THIRD) is None
    assert client(store).get_run(run_id).info.status == "FINISHED"
