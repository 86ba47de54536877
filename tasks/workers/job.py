"""Train a cohort in a worker: a process that a flow has started, with an engine and compiled programs of its own."""

import time
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from nightune.models.kept_code import KeptCode, adopt
from nightune.models.training.engine import Compilation
from nightune.tasks.setting import Setting
from nightune.tasks.tracking.trials.attempts import Attempt, run_of_trial
from nightune.tasks.trial.crash_log import open_crash_log
from nightune.tasks.trial.trainer import compilation_of, trainer_of
from nightune.tasks.trial.trial_runner import AtWorker, TrialRunner
from nightune.tasks.workers.relay import TOPIC, relayed
from nightune.tasks.workers.stopping import refuse_stopped, working
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


@dataclass(frozen=True)
class Trained:
    """What a worker returns: the results, what the engine has compiled, and the end of the search's time if it came."""

    results: list[TrialResult]
    compilation: Compilation
    ended_by: str = ""


def train_job(job: Job) -> Trained:
    """Train the trials of a job in this worker, and write each to MLflow. OvertakenError if others have taken them."""
    from distributed import get_worker  # noqa: PLC0415 - an extra

    worker, budget = get_worker(), _time_left(job)
    setting = replace(job.setting, budget=budget)
    store, sweep, study = setting.store, setting.sweep, setting.study
    with working(), relayed(partial(worker.log_event, TOPIC), job.log_level):
        adopt(job.code)
        trainer = trainer_of(setting)
        before = compilation_of(trainer.engine)
        found = {trial.key: run_of_trial(store, sweep, trial.key) for trial in job.trials}
        unfinished = {key: run for key, run in found.items() if run is not None}
        at_worker = AtWorker(job.attempt, unfinished, refuse_stopped)
        place, _, _process = str(worker.name).rpartition("-")
        runner = TrialRunner(setting, trainer, open_crash_log(store.root, study.name, place), at_worker)
        results = runner.run(job.trials, job.ended)
        return Trained(results, compilation_of(trainer.engine) - before, budget.ended_by if budget else "")


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
