"""Train a cohort in a worker: a process that a flow has started, with an engine and compiled programs of its own."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

from nightune.models.kept_code import KeptCode, adopt
from nightune.models.training.engine import Compilation
from nightune.phases import SEARCH
from nightune.tasks.reporting.ledger_keeper import cohort_recorded
from nightune.tasks.setting import Setting
from nightune.tasks.tracking.trials.attempts import Attempt, run_of_trial
from nightune.tasks.tracking.trials.deaths import Deaths, deaths_of
from nightune.tasks.trial.at_worker import AtWorker
from nightune.tasks.trial.crash_log import Crash, open_crash_log
from nightune.tasks.trial.trainer import compilation_of, trainer_of
from nightune.tasks.trial.trial_runner import TrialRunner
from nightune.tasks.workers.relay import TOPIC, relayed
from nightune.tasks.workers.stopping import working
from nightune.tuning.analysis.ledger import Training
from nightune.tuning.search_budget import SearchBudget
from nightune.tuning.trial import Trial, TrialResult


@dataclass(frozen=True)
class Job:
    """A cohort to train, with what its trials share.

    The setting has neither workers nor a budget: `spent_seconds` is what the search has taken so far, None without
    ends. `ended` says whether trials can succeed, and `code` is the user's as the flow has kept it.
    """

    setting: Setting
    trials: tuple[Trial, ...]
    ended: tuple[TrialResult, ...]
    attempt: Attempt
    code: KeptCode
    log_level: int
    spent_seconds: float | None = None
    deadline: datetime | None = None
    stage: str = SEARCH  # for the ledger


@dataclass(frozen=True)
class Trained:
    """What a worker returns: the results, what the engine has compiled, and the end of the search's time if it came.

    `phases` are the seconds of the cohort by phase; they sum to its time in the worker.
    """

    results: list[TrialResult]
    compilation: Compilation
    ended_by: str = ""
    phases: Mapping[str, float] = field(default_factory=dict)
    trainings: tuple[Training, ...] = ()


def train_job(job: Job) -> Trained:
    """Train the trials of a job in this worker, and write each to MLflow. OvertakenError if others have taken them."""
    from distributed import get_worker  # noqa: PLC0415 - an extra

    worker = get_worker()
    place, _, _process = str(worker.name).rpartition("-")
    return _train(job, job.setting, partial(worker.log_event, TOPIC), place)


def train_hosted(job: Job, at_data: Setting, send: Callable[[bytes], None], place: str) -> Trained:
    """Train a job on another machine than the flow's; `at_data` has the machine's own copy of the data.

    The deaths of a trial are counted on its run, which is opened before it trains.
    """
    return _train(job, at_data, send, place, is_hosted=True)


def _train(job: Job, at_data: Setting, send: Callable[[bytes], None], place: str, is_hosted: bool = False) -> Trained:
    budget = _time_left(job)
    setting = replace(job.setting, budget=budget)
    store, sweep, study = setting.store, setting.sweep, setting.study
    with working(), relayed(send, job.log_level), cohort_recorded(job.stage) as record:
        adopt(job.code)
        trainer = trainer_of(at_data)
        before = compilation_of(trainer.engine)
        found = {trial.key: run_of_trial(store, sweep, trial.key) for trial in job.trials}
        unfinished = {key: run for key, run in found.items() if run is not None}
        given_up = {trial.key: crash for trial in job.trials if (crash := crash_of(trial, unfinished.get(trial.key)))}
        at_worker = AtWorker(job.attempt, unfinished, given_up, opens_first=is_hosted)
        runner = TrialRunner(setting, trainer, open_crash_log(store.root, study.name, place), at_worker)
        results = runner.run(job.trials, job.ended)
        trained = Trained(results, compilation_of(trainer.engine) - before, budget.ended_by if budget else "")
    return replace(trained, phases=record.phases, trainings=tuple(record.trainings))


def crash_of(trial: Trial, run: Any | None) -> Crash | None:
    """Return the last death that a trial's run counts, if the trial has been given up."""
    deaths = Deaths() if run is None else deaths_of(run)
    return Crash(trial.number, deaths.count, deaths.reason, is_final=True) if deaths.is_final else None


def _time_left(job: Job) -> SearchBudget | None:
    """Return a budget that counts time alone: the flow counts epochs and the hours of devices."""
    if job.spent_seconds is None:
        return None
    return SearchBudget(
        job.setting.study.search.model_copy(update={"total_epochs": None, "device_hours": None}),
        replicates=lambda trials: 0,
        results=(),
        clock=time.monotonic,
        now=lambda: datetime.now().astimezone(),
        earlier_seconds=job.spent_seconds,
        deadline=job.deadline,
    )
