"""A sweep in which every trial must fail ends after three trials; one in which some can succeed does not."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from nightune.tasks import train_cohorts as module
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.setting import Setting
from nightune.tasks.tracking.store.store import Store
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tasks.train_cohorts import train_cohorts
from nightune.tasks.trial.crash_log import Crash
from nightune.tasks.trial.hopeless import counted
from nightune.tuning.analysis.failures import common_failure
from nightune.tuning.errors import SweepFailedError
from nightune.tuning.trial import Status, Trial, TrialResult
from tests.tasks.conftest import SmallStudy, result_of

Fails = Callable[[Trial], str]
REFUSED = {"optimizer": "gd", "batch_size.size": 32}  # contradict each other: rule C1


@pytest.fixture
def train(
    store: Store, sweep: Sweep, study: SmallStudy, data: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Sequence[list[Trial]], Fails], list[int]]:
    """Train cohorts by a function from a trial to the message of its failure; return the numbers in their order."""

    def train(cohorts: Sequence[list[Trial]], fails: Fails) -> list[int]:
        trained: list[int] = []

        def cohort(
            _: Setting, trials: Sequence[Trial], ended: Sequence[TrialResult], following: Sequence[Trial]
        ) -> list[TrialResult]:
            assert not {trial.key for trial in following} & {trial.key for trial in trials}
            results: list[TrialResult] = []
            for trial in trials:
                if results and common_failure(counted([*ended, *results])):
                    break
                message = fails(trial)
                status = Status.FAILED if message else Status.COMPLETED
                results.append(result_of(trial, status=status, message=message))
                trained.append(trial.number)
            return results

        monkeypatch.setattr(module, "train_cohort", cohort)
        try:
            train_cohorts(Setting(store, sweep, study, data), cohorts)  # type: ignore[arg-type]
        except SweepFailedError as error:
            return [*trained, -1] if "were not trained" in str(error) else trained
        return trained

    return train


def trials_of(optimizer: str, numbers: range) -> list[Trial]:
    return [Trial(number, {"optimizer": optimizer}, 1, f"key-{number}") for number in numbers]


def test_three_failures_alike_of_the_only_graph_key_end_the_sweep(train: Callable[..., list[int]]) -> None:
    cohorts = [trials_of("adam", range(5)), trials_of("adam", range(5, 9))]
    assert train(cohorts, lambda trial: f"ValueError: shape {trial.number}") == [0, 1, 2, -1]


def test_another_graph_key_is_tried_before_the_sweep_ends(train: Callable[..., list[int]]) -> None:
    cohorts = [trials_of("adam", range(5)), trials_of("sgd", range(5, 9))]
    assert train(cohorts, lambda trial: "ValueError: no") == [0, 1, 2, 5, -1]


def test_the_other_trials_are_trained_where_another_graph_key_succeeds(train: Callable[..., list[int]]) -> None:
    cohorts = [trials_of("adam", range(5)), trials_of("sgd", range(5, 7))]
    trained = train(cohorts, lambda trial: "" if trial.number >= 5 else "ValueError: no")
    assert trained == [0, 1, 2, 5, 6, 3, 4]


@pytest.mark.parametrize(
    "cause",
    [
        "TrialLimitError: over its time limit",
        Crash(0, 3, "SIGKILL, perhaps out of memory", is_final=True).message,
        Crash(0, 1, "over its memory limit: the process uses 9.0 GiB", is_final=True).message,
        "ResourceExhaustedError: OOM when allocating tensor with shape[8]",
        "JaxRuntimeError: RESOURCE_EXHAUSTED: Out of memory",
    ],
)
def test_failures_by_a_trials_own_size_do_not_end_the_sweep(train: Callable[..., list[int]], cause: str) -> None:
    assert train([trials_of("adam", range(5))], lambda trial: cause) == [0, 1, 2, 3, 4]


def test_different_failures_do_not_end_the_sweep(train: Callable[..., list[int]]) -> None:
    assert train([trials_of("adam", range(5))], lambda trial: "no" if trial.number else "yes") == [0, 1, 2, 3, 4]


def test_refused_trials_do_not_count(train: Callable[..., list[int]]) -> None:
    refused = [replace(trial, params=dict(REFUSED)) for trial in trials_of("gd", range(5))]
    trained = train([refused, trials_of("adam", range(5, 7))], lambda trial: "rule C1" if trial.number < 5 else "")
    assert trained == list(range(7))
