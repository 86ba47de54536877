"""Feeding workers: every trial gets one result, whatever comes first and whichever worker dies."""

import itertools
import os
import queue
import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from nightune.models.training.engine import Compilation
from nightune.phases import SEARCH
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.reporting.ledger_keeper import command_clock, ledger_kept, sweep_ledger
from nightune.tasks.setting import Setting
from nightune.tasks.tracking.store.store import Store
from nightune.tasks.tracking.sweeps.ledgers import read_ledger
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tasks.tracking.trials.attempts import OvertakenError
from nightune.tasks.trial.crash_log import Crash, open_crash_log
from nightune.tasks.workers import feed as module
from nightune.tasks.workers.contract import FUTILE_STARTS, WorkersLostError
from nightune.tasks.workers.feed import Feed
from nightune.tasks.workers.job import Job, Trained
from nightune.tasks.workers.local_crew import LocalCrew
from nightune.tuning.analysis.ledger import Training
from nightune.tuning.errors import SweepFailedError
from nightune.tuning.search_budget import SearchBudget
from nightune.tuning.study.search_section import SearchSection
from nightune.tuning.study.sections import Limits
from nightune.tuning.trial import Status, Trial, TrialResult
from tests.tasks.conftest import SmallStudy, result_of

Outcome = Callable[["InventedWorker", Job], Any]  # what a worker returns; an exception is raised; None: it dies


@dataclass
class InventedProcess:
    """A process that ends when `kill` is called."""

    pid: int
    returncode: int | None = None

    def kill(self) -> None:
        self.returncode = -signal.SIGKILL


@dataclass
class InventedWorker:
    name: str
    process: InventedProcess
    address: str = "here"
    futile_starts: int = 0
    held: set[str] = field(default_factory=set)


@dataclass
class InventedFuture:
    key: int
    outcome: Any

    def result(self, timeout: float) -> Any:
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome

    def release(self) -> None:
        pass


class InventedCrew:
    """Workers that return the outcome of a function, in any order; those without one die."""

    def __init__(self, count: int, outcome: Outcome, seed: int = 0) -> None:
        self.workers = [InventedWorker(f"worker-{place}", InventedProcess(place)) for place in range(1, count + 1)]
        self.inbox = self
        self.jobs: list[Job] = []
        self._outcome, self._random, self._ended = outcome, random.Random(seed), []  # type: ignore[var-annotated]

    def join(self) -> None:
        pass

    def send(self, worker: InventedWorker, job: Job) -> InventedFuture:
        self.jobs.append(job)
        future = InventedFuture(len(self.jobs), self._outcome(worker, job))
        if future.outcome is None:
            worker.process.kill()
        else:
            self._ended.append(future)
        return future

    def get(self, timeout: float) -> InventedFuture:
        return self.get_nowait()

    def get_nowait(self) -> InventedFuture:
        if not self._ended:
            raise queue.Empty
        return self._ended.pop(self._random.randrange(len(self._ended)))  # type: ignore[no-any-return]

    def dead(self) -> list[InventedWorker]:
        return [worker for worker in self.workers if worker.process.returncode is not None]

    def cut_off(self, worker: InventedWorker) -> None:
        worker.process.kill()

    def crash(self, worker: InventedWorker, setting: Setting, job: Job | None) -> tuple[str, Crash | None]:
        return LocalCrew.crash(self, worker, setting, job)  # type: ignore[arg-type]

    def replace(self, worker: InventedWorker, is_futile: bool) -> None:
        worker.futile_starts = worker.futile_starts + 1 if is_futile else 0
        if worker.futile_starts < FUTILE_STARTS:
            worker.process = InventedProcess(worker.process.pid + 100)
            return
        self.workers.remove(worker)
        if not self.workers:
            raise WorkersLostError("no worker is left; leave out --workers")


Run = Callable[..., list[TrialResult]]


@pytest.fixture
def setting(
    store: Store, sweep: Sweep, study: SmallStudy, data: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> Setting:
    monkeypatch.setattr(module, "results_of", lambda *_: {})  # nothing that died has written a result
    return Setting(store, sweep, study, data, rung=2)  # type: ignore[arg-type]


def trials(count: int, optimizers: Sequence[str] = ("adam", "sgd")) -> list[Trial]:
    kinds = [optimizers[number % len(optimizers)] for number in range(count)]
    return [Trial(number, {"optimizer": kind}, 1, f"key-{number}") for number, kind in enumerate(kinds)]


def trained(_worker: InventedWorker, job: Job) -> Trained:
    return Trained([result_of(trial) for trial in job.trials], Compilation(0, 0.0))


def feed(crew: InventedCrew, setting: Setting, count: int, **options: Any) -> list[int]:
    results = Feed(crew, setting, trials(count, **options), {}).run()  # type: ignore[arg-type]
    return [result.trial.number for result in results]


@pytest.mark.parametrize(("count", "seed"), [(1, 0), (2, 0), (2, 1), (5, 2)])
def test_each_trial_has_one_result_in_any_order_of_arrival(setting: Setting, count: int, seed: int) -> None:
    crew = InventedCrew(count, trained, seed)
    assert feed(crew, setting, 40) == list(range(40))
    sent = [trial.number for job in crew.jobs for trial in job.trials]
    assert sorted(sent) == list(range(40))
    assert all(len({trial.params["optimizer"] for trial in job.trials}) == 1 for job in crew.jobs)
    assert len({job.attempt for job in crew.jobs}) == len(crew.jobs)


def test_a_worker_keeps_the_program_that_it_holds(setting: Setting) -> None:
    optimizers: dict[str, list[str]] = {}

    def noted(worker: InventedWorker, job: Job) -> Trained:
        optimizers.setdefault(worker.name, []).append(str(job.trials[0].params["optimizer"]))
        return trained(worker, job)

    feed(InventedCrew(2, noted), setting, 40)
    changes = [sum(a != b for a, b in itertools.pairwise(kinds)) for kinds in optimizers.values()]
    assert max(changes) <= 1


def test_the_trials_of_a_dead_worker_are_trained_again_and_a_poison_alone(setting: Setting) -> None:
    log = open_crash_log(setting.store.root, setting.study.name)

    def poisoned(worker: InventedWorker, job: Job) -> Trained | None:
        bad = next((trial for trial in job.trials if trial.number == 3), None)
        if bad is None or log.final_crash(bad.key) is not None:
            return trained(worker, job)
        of_worker = open_crash_log(setting.store.root, setting.study.name, worker.name)
        with of_worker.training(bad.key, bad.number):
            record = of_worker._in_training.read_text()
        own_process = record.replace(f'"process": {os.getpid()}', f'"process": {worker.process.pid}')
        of_worker._in_training.write_text(own_process)
        return None

    crew = InventedCrew(2, poisoned)
    assert feed(crew, setting, 12) == list(range(12))
    crash = log.final_crash("key-3")
    assert crash is not None
    assert crash.count == 3
    assert [len(job.trials) for job in crew.jobs if "key-3" in {trial.key for trial in job.trials}][1:] == [1, 1, 1]


def test_workers_that_end_before_they_train_are_given_up_and_said(setting: Setting) -> None:
    with pytest.raises(WorkersLostError, match="--workers"):
        feed(InventedCrew(2, lambda _worker, _job: None), setting, 4)


def test_what_a_dead_worker_had_written_is_not_trained_again(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "results_of", lambda _store, _sweep, sent, _epochs: {sent[0].key: result_of(sent[0])})
    monkeypatch.setattr(type(setting.study), "limits", Limits(), raising=False)
    died: list[Trial] = []

    def dies_once(worker: InventedWorker, job: Job) -> Trained | None:
        if died:
            return trained(worker, job)
        died.extend(job.trials)
        return None

    crew = InventedCrew(1, dies_once)
    with command_clock(), ledger_kept(setting, "tune"):
        ledger = sweep_ledger()
        assert ledger is not None
        assert feed(crew, setting, 8) == list(range(8))
        ledger.add(Training(died[0].number, 0, SEARCH, 9, 1.0))  # of the next rung
    assert died[0].key not in {trial.key for job in crew.jobs[1:] for trial in job.trials}
    held = read_ledger(setting.store, setting.sweep)
    assert held is not None
    assert len([each for session in held.sessions for each in session.trainings]) == 2


def test_an_overtaken_cohort_is_sent_again_but_not_for_ever(setting: Setting) -> None:
    crew = InventedCrew(1, lambda worker, job: OvertakenError("taken") if len(crew.jobs) < 3 else trained(worker, job))
    assert feed(crew, setting, 3) == list(range(3))
    with pytest.raises(OvertakenError):
        feed(InventedCrew(1, lambda _worker, _job: OvertakenError("taken")), setting, 3)


def test_a_fault_of_the_store_ends_the_sweep(setting: Setting) -> None:
    with pytest.raises(OSError, match="full"):
        feed(InventedCrew(2, lambda _worker, _job: OSError("the disk is full")), setting, 4)


def test_a_sweep_in_which_every_trial_fails_ends(setting: Setting) -> None:
    def fails(_worker: InventedWorker, job: Job) -> Trained:
        failed = [result_of(trial, status=Status.FAILED, message="ValueError: no") for trial in job.trials[:1]]
        return Trained(failed, Compilation(0, 0.0))

    crew = InventedCrew(2, fails)
    with pytest.raises(SweepFailedError, match="were not trained"):
        feed(crew, setting, 40)
    assert len(crew.jobs) < 8


@pytest.mark.parametrize("count", [1, 3])
def test_epochs_that_others_have_reserved_are_waited_for(setting: Setting, count: int) -> None:
    """Each trial may train 2 epochs and stops after 1: of 20 epochs, 19 trials use all but one, as in one process."""
    search = SearchSection.model_validate({"epochs": 2, "total_epochs": 20})
    budget = SearchBudget(search, lambda trials: 0, (), time.monotonic, lambda: datetime.now(UTC))

    def stops_early(_worker: InventedWorker, job: Job) -> Trained:
        return Trained([result_of(trial, epochs=1, best_epoch=1) for trial in job.trials], Compilation(0, 0.0))

    trained_numbers = feed(InventedCrew(count, stops_early), replace(setting, budget=budget), 40)
    assert len(trained_numbers) == 19
    assert budget.ended_by == "total_epochs = 20"


def test_the_end_of_time_that_a_worker_finds_ends_the_search(setting: Setting) -> None:
    search = SearchSection.model_validate({"epochs": 2, "hours": 1})
    budget = SearchBudget(search, lambda trials: 0, (), time.monotonic, lambda: datetime.now(UTC))

    def ended(worker: InventedWorker, job: Job) -> Trained:
        return replace(trained(worker, job), results=[], ended_by="hours = 1")

    assert feed(InventedCrew(2, ended), replace(setting, budget=budget), 40) == []
    assert budget.ended_by == "hours = 1"
