"""Feed workers with cohorts: one under way a worker, the next as it comes back, until all trials have results."""

import logging
import queue
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from nightune.models.kept_code import kept_code
from nightune.phases import current_stage
from nightune.tasks.cohorts import REFUSED, training_order
from nightune.tasks.reporting.events import TrialEnded, announce_trial
from nightune.tasks.reporting.ledger_keeper import sweep_ledger
from nightune.tasks.setting import Setting
from nightune.tasks.tracking.sweeps.compilation import add_compilation
from nightune.tasks.tracking.sweeps.ends import write_search_seconds
from nightune.tasks.tracking.sweeps.failures import write_failures
from nightune.tasks.tracking.trials.attempts import OvertakenError, next_attempt
from nightune.tasks.tracking.trials.rungs import results_of
from nightune.tasks.trial.crash_log import Crash
from nightune.tasks.trial.hopeless import counted, evidence, failed_message
from nightune.tasks.trial.interrupts import refuse_interrupted
from nightune.tasks.workers.contract import Crew, Ending, Place
from nightune.tasks.workers.cuts import cohort_size, next_graph_key
from nightune.tasks.workers.job import Job, Trained
from nightune.tuning.analysis.failures import common_failure
from nightune.tuning.errors import SweepFailedError
from nightune.tuning.trial import Status, Trial, TrialResult

logger = logging.getLogger("nightune")

POLL_SECONDS = 0.5  # between two looks at processes and addresses
FETCH_SECONDS = 30.0  # in which a small result of a worker that lives is here
MOST_TAKEOVERS = 3


@dataclass(frozen=True)
class _Sent:
    """A cohort under way."""

    graph_key: str
    job: Job
    future: Ending

    @property
    def trials(self) -> Sequence[Trial]:
        """The trials of the cohort."""
        return self.job.trials


class Feed:
    """Trains trials of one rung on a crew. What comes first decides what is sent next, and no trial's result."""

    def __init__(self, crew: Crew, setting: Setting, trials: Sequence[Trial], held: dict[str, str]) -> None:
        """`held` says, by trial key, in which worker a trial has halted: it is updated."""
        self._crew, self._setting, self._halted_in = crew, setting, held
        self._place = training_order(setting.study.path.parent)
        self._waiting: dict[str, list[Trial]] = {}
        for trial in sorted(trials, key=self._place):
            self._waiting.setdefault(self._place(trial).graph_key, []).append(trial)
        self._sent: dict[str, _Sent] = {}  # by the worker's name
        self._before = setting.finished()
        self._results: dict[str, TrialResult] = {}
        self._announced: set[str] = set()
        self._crashed: set[str] = set()  # keys of trials that have ended a process: each is trained alone
        self._takeovers: Counter[str] = Counter()
        self._ledger = sweep_ledger()

    def run(self) -> list[TrialResult]:
        """Train the trials; return the results by number."""
        while self._waiting or self._sent:
            refuse_interrupted()
            self._crew.join()
            if self._ledger is not None:
                self._ledger.times.meet([worker.name for worker in self._crew.workers])
            for worker in self._crew.workers:
                if worker.address and worker.name not in self._sent:
                    self._send(worker)
            if self._waiting or self._sent:
                self._take()
                self._replace_dead()
                if self._ledger is not None:
                    self._ledger.write_if_due()
        return sorted(self._results.values(), key=lambda result: (result.trial.number, result.trial.replicate))

    def _send(self, worker: Place) -> None:
        sizes = {key: len(self._waiting[key]) for key in self._sendable_keys()}
        if not sizes:
            return
        of_others = {key for other in self._crew.workers if other is not worker for key in other.held}
        key = next_graph_key(sizes, worker.held, of_others)
        trials = self._admitted(self._cut(key, worker))
        if not trials:
            return
        keys = {trial.key for trial in trials}
        self._waiting[key] = [trial for trial in self._waiting[key] if trial.key not in keys]
        self._drop_empty()
        worker.held.add(key)
        job = self._job(trials)
        self._sent[worker.name] = _Sent(key, job, self._crew.send(worker, job))
        if self._ledger is not None:
            self._ledger.times.begin(worker.name)

    def _job(self, trials: Sequence[Trial]) -> Job:
        setting, budget = self._setting, self._setting.budget
        return Job(
            replace(setting, workers=None, budget=None, known=None),
            tuple(trials),
            tuple(evidence([*self._before, *self._results.values()])),
            next_attempt(),
            kept_code(),
            min(logger.getEffectiveLevel(), logging.INFO),
            budget.seconds if budget else None,
            budget.deadline if budget else None,
            current_stage(),
        )

    def _sendable_keys(self) -> list[str]:
        """Return the graph keys to train; after failures alike another one. SweepFailedError if that failed, too."""
        failed = counted([*self._before, *self._results.values()])
        cause = common_failure(failed)
        if cause is None or not self._waiting:
            return list(self._waiting)
        failed_keys = {self._place(result.trial).graph_key for result in failed}
        others = [key for key in self._waiting if key not in {*failed_keys, REFUSED}]
        if self._sent:
            return []  # what is under way may succeed
        if len(failed_keys) == 1 and others:
            return others[:1]
        write_failures(self._setting.store, self._setting.sweep, [*self._before, *self._results.values()])
        left = sum(map(len, self._waiting.values()))
        raise SweepFailedError(failed_message(self._setting.sweep.id, cause, len(failed), left))

    def _cut(self, key: str, worker: Place) -> list[Trial]:
        """Return the worker's next trials of a graph key: first those that have halted in it, last those in others."""
        left, seconds = sum(map(len, self._waiting.values())), [each.seconds for each in self._results.values()]
        size = cohort_size(left, len(self._crew.workers), fmean(seconds) if seconds else None)
        order = {worker.name: 0, None: 1}
        members = sorted(self._waiting[key], key=lambda trial: order.get(self._halted_in.get(trial.key), 2))
        if members[0].key in self._crashed:
            return members[:1]
        return [trial for trial in members[:size] if trial.key not in self._crashed]

    def _admitted(self, trials: Sequence[Trial]) -> list[Trial]:
        """Return those that the search's budget admits; where others train, one that does not fit waits for them."""
        budget, epochs = self._setting.budget, self._setting.epochs
        if budget is None:
            return list(trials)
        admitted: list[Trial] = []
        for trial in trials:
            if not budget.admits(trial, epochs):
                break
            admitted.append(trial)
        if budget.ended_by:
            self._waiting.clear()
        return admitted

    def _take(self) -> None:
        """Handle what has come from workers since, or comes within the interval: records, then ended cohorts."""
        try:
            came = self._crew.inbox.get(timeout=POLL_SECONDS)
            while True:
                if isinstance(came, logging.LogRecord):
                    self._show(came)
                else:
                    self._end(came)
                came = self._crew.inbox.get_nowait()
        except queue.Empty:
            return

    def _show(self, record: logging.LogRecord) -> None:
        news = getattr(record, "news", None)
        if isinstance(news, TrialEnded):
            self._announced.add(news.result.trial.key)
            if self._ledger is not None:
                self._ledger.announce(news.result)
        logger.handle(record)

    def _end(self, future: Ending) -> None:
        worker = next((each for each in self._crew.workers if self._is_of(each, future)), None)
        if worker is None:
            return  # of a worker that died before its future's end came
        sent = self._sent[worker.name]
        trained = self._fetched(future)
        if trained is None:
            self._crew.cut_off(worker)  # its trials are trained again
            return
        del self._sent[worker.name]
        future.release()
        if isinstance(trained, Trained):
            worker.futile_starts = 0
            self._count(worker, trained)
            self._record(worker, sent, trained)
        else:
            self._count(worker, None)
            self._note_takeover(sent, trained)
            self._return(sent)

    def _is_of(self, worker: Place, future: Ending) -> bool:
        sent = self._sent.get(worker.name)
        return sent is not None and sent.future.key == future.key

    def _fetched(self, future: Ending) -> Trained | OvertakenError | None:
        """Return what a worker has returned; None if it died. Other faults are raised."""
        from distributed import CancelledError, KilledWorker, TimeoutError  # noqa: PLC0415 - an extra

        try:
            trained = future.result(timeout=FETCH_SECONDS)
        except OvertakenError as error:
            return error
        except (KilledWorker, CancelledError, TimeoutError):
            return None
        assert trained is None or isinstance(trained, Trained)
        return trained

    def _count(self, worker: Place, trained: Trained | None) -> None:
        """Count the time of an ended cohort; None: its worker did not tell how it was divided."""
        if self._ledger is not None:
            self._ledger.times.end(worker.name, None if trained is None else trained.phases)
            for training in trained.trainings if trained else ():
                self._ledger.add(training)

    def _record(self, worker: Place, sent: _Sent, trained: Trained) -> None:
        setting, budget = self._setting, self._setting.budget
        ours = {trial.key: trial for trial in sent.trials}  # not a second copy of each
        came = [replace(each, trial=ours[each.trial.key]) for each in trained.results]
        results = {each.trial.key: each for each in came}
        self._keep(results)
        self._announced.difference_update(results)
        self._halted_in.update({each.trial.key: worker.name for each in came if each.status is Status.NOT_PROMOTED})
        add_compilation(setting.store, setting.sweep, trained.compilation)
        self._put_back(sent, [trial for trial in sent.trials if trial.key not in results])
        if budget is not None:
            for trial in sent.trials:
                budget.settle(trial, results.get(trial.key))
            budget.ended_by = budget.ended_by or trained.ended_by
            write_search_seconds(setting.store, setting.sweep, budget.seconds)
            if budget.ended_by:
                self._waiting.clear()

    def _keep(self, results: dict[str, TrialResult]) -> None:
        self._results |= results
        if self._setting.known is not None:
            for result in results.values():
                self._setting.known.add(result)

    def _note_takeover(self, sent: _Sent, error: OvertakenError) -> None:
        self._takeovers.update(trial.key for trial in sent.trials)
        if any(self._takeovers[trial.key] > MOST_TAKEOVERS for trial in sent.trials):
            raise error

    def _replace_dead(self) -> None:
        """Count the death of each worker that has ended, return its trials, and fill its place again."""
        for worker in self._crew.dead():
            sent = self._sent.pop(worker.name, None)
            crash = self._crash(worker, sent)
            if sent is not None:
                self._count(worker, None)
                sent.future.release()
                self._return(sent)
            for key in [key for key, name in self._halted_in.items() if name == worker.name]:
                del self._halted_in[key]
            self._crew.replace(worker, is_futile=crash is None)

    def _crash(self, worker: Place, sent: _Sent | None) -> Crash | None:
        """Say that a worker has died; count it for the trial that it trained, and return that crash."""
        cause, crash = self._crew.crash(worker, self._setting, sent.job if sent else None)
        if crash is None:
            logger.warning("%s ended outside of any trial (%s)", worker.name, cause)
            return None
        self._crashed |= {trial.key for trial in (sent.trials if sent else ()) if trial.number == crash.trial}
        logger.warning("%s · %s · %s; finished trials are kept", crash.subject, crash.message, crash.attempt)
        return crash

    def _return(self, sent: _Sent) -> None:
        """Let the trials of a cohort that ended early wait again, except those that have a result in the store."""
        setting, budget = self._setting, self._setting.budget
        found = results_of(setting.store, setting.sweep, sent.trials, setting.epochs)
        self._keep(found)
        for key, result in found.items():
            if key not in self._announced:
                announce_trial(result, setting.study.objective.name)
                if self._ledger is not None:
                    self._ledger.announce(result)
        if self._ledger is not None:
            self._ledger.settle(result.trial for result in found.values())
        if budget is not None:
            for trial in sent.trials:
                budget.settle(trial, found.get(trial.key))
        self._put_back(sent, [trial for trial in sent.trials if trial.key not in found])

    def _put_back(self, sent: _Sent, trials: Sequence[Trial]) -> None:
        is_ended = self._setting.budget is not None and bool(self._setting.budget.ended_by)
        if trials and not is_ended:
            self._waiting[sent.graph_key] = [*trials, *self._waiting.get(sent.graph_key, [])]

    def _drop_empty(self) -> None:
        for key in [key for key, trials in self._waiting.items() if not trials]:
            del self._waiting[key]
