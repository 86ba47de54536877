"""Keep the ledger of a sweep while a command works on it: the time of each phase and of each training.

It is written every half minute, and at the end: a killed command loses what it did since.
"""

import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import Protocol

import psutil

from nightune.phases import COMPILING, TRAINING, VALIDATION, Clock, clock_running, current_clock, phase, stage
from nightune.settings import usable_settings
from nightune.tasks.reporting.energy import Meter, open_meter
from nightune.tasks.reporting.worker_times import WorkerTimes
from nightune.tasks.setting import Setting
from nightune.tasks.tracking.store.errors import StoreError
from nightune.tasks.tracking.store.retry import retry_limit
from nightune.tasks.tracking.sweeps.ledgers import read_ledger, write_ledger
from nightune.tasks.tracking.trials.results import record_best
from nightune.tasks.tracking.trials.trials import finished_trials
from nightune.tuning.analysis.leaderboard import best
from nightune.tuning.analysis.ledger import Ledger, Session, Training
from nightune.tuning.trial import Trial, TrialResult

WRITE_SECONDS = 30.0

logger = logging.getLogger("nightune")
_open = threading.local()
_first_session = [True]  # of this process: its start belongs to it


class Counting(Protocol):
    """What counts the trainings of a thread: the ledger of a sweep, or a worker's record of a cohort."""

    def add(self, training: Training) -> None:
        """Add a training."""

    def write_if_due(self) -> None:
        """Write what is kept, if it was not written for half a minute."""


class LedgerKeeper:
    """The ledger of a sweep with the session of this command, whose clock and meter run."""

    def __init__(self, setting: Setting, command: str, clock: Clock, meter: Meter | None) -> None:
        """`meter` is None where a cluster trains: its machines have counters and prices of their own."""
        self._setting, self._command, self._clock, self._meter = setting, command, clock, meter
        held = read_ledger(setting.store, setting.sweep)
        self._earlier = () if held is None else held.sessions
        replicates = finished_trials(setting.store, setting.sweep, "replicate").values()
        self._is_whole = Ledger(self._earlier).has_all(chain(setting.finished(), replicates))
        self._began = time.time() - sum(sum(phases.values()) for phases in clock.read().values())
        self.times = WorkerTimes(clock)
        self._trainings: list[Training] = []
        self._announced: dict[tuple[int, int], Training] = {}  # of workers whose cohorts have not ended
        self._written_at = time.monotonic()
        self._best_run = ""

    @property
    def is_empty(self) -> bool:
        """True if nothing was trained."""
        return not self._trainings and not self._announced

    def add(self, training: Training) -> None:
        """Add a training."""
        self._announced.pop((training.trial, training.replicate), None)
        self._trainings.append(training)

    def announce(self, result: TrialResult) -> None:
        """Note a result of a worker; its own account of it replaces the note, if it comes."""
        trial = result.trial
        training = Training(trial.number, trial.replicate, self._clock.stage, result.epochs, result.seconds)
        self._announced[trial.number, trial.replicate] = training

    def settle(self, trials: Iterable[Trial]) -> None:
        """Let notes stand, of trials whose worker has died with its account: one of a later rung is another one."""
        for trial in trials:
            note = self._announced.pop((trial.number, trial.replicate), None)
            self._trainings += [note] if note is not None else []

    def write_if_due(self) -> None:
        """Write the ledger, if it was not written for half a minute."""
        if time.monotonic() - self._written_at > WRITE_SECONDS:
            self.write()

    def write(self) -> None:
        """Write the ledger."""
        stages, workers = self.times.read()
        session = Session(
            command=self._command,
            began=self._began,
            stages=stages,
            trainings=(*self._trainings, *self._announced.values()),
            joules=self._meter.joules() if self._meter else None,
            energy_of=self._meter.names if self._meter else "",
            price_per_hour=self._setting.study.limits.price_per_hour if self._meter else None,
            workers=workers,
            is_cluster=self._meter is None,
        )
        ledger = Ledger((*self._earlier, session))
        write_ledger(self._setting.store, self._setting.sweep, ledger, self._is_whole)
        self._name_best()
        self._written_at = time.monotonic()

    def _name_best(self) -> None:
        """Name the best trial so far on the sweep's run, while its search runs."""
        setting = self._setting
        if setting.known is None or setting.sweep.is_complete:
            return
        first = best(setting.known.written(), setting.sweep.direction)
        if first is not None and first.run_id != self._best_run:
            record_best(setting.store, setting.sweep, first)
            self._best_run = first.run_id


@contextmanager
def command_clock() -> Iterator[None]:
    """Count the phases of a command from its start: that of its process, if it has one of its own."""
    clock, meter = Clock(began_at=_began_at()), open_meter()
    clock.at_change = meter.poll
    _open.meter = meter
    with clock_running(clock):
        yield


def _began_at() -> float | None:
    """Return when the process of a command began; None for a later session, and in a process of the user."""
    settings = usable_settings()
    is_own = settings.supervisor is not None or settings.served_by is not None
    is_first, _first_session[0] = _first_session[0], False
    if not is_own or not is_first:
        return None
    return time.perf_counter() - max(0.0, time.time() - psutil.Process(os.getpid()).create_time())


@contextmanager
def ledger_kept(setting: Setting, command: str, is_cluster: bool = False) -> Iterator[None]:
    """Keep the sweep's ledger while the block runs; a command that trains nothing on a complete sweep has none.

    A promotion, which judges, always has one.
    """
    clock = current_clock()
    if clock is None:
        yield
        return
    meter, shows_only = None if is_cluster else _open.meter, setting.sweep.is_complete
    keeper = LedgerKeeper(setting, command, clock, meter)
    _open.keeper = keeper
    try:
        yield
    finally:
        _open.keeper = None
        if command == "promote" or not (shows_only and keeper.is_empty):
            _write_last(keeper)


def _write_last(keeper: LedgerKeeper) -> None:
    """Write the ledger at the end, which no error of it may change."""
    try:
        with retry_limit(2.0):
            keeper.write()
    except (StoreError, OSError) as error:
        logger.warning("the ledger could not be written: %s", error)


@dataclass
class Trained:
    """What a training reports of itself: its last epoch, its share of the seconds of its epochs, and where it began."""

    epochs: int = 0
    seconds: float = 0.0
    begin: int = 0


@contextmanager
def counted_training(trial: Trial, is_shared: bool) -> Iterator[Trained]:
    """Add the block to the ledger as a training of a trial; `is_shared`: the device computes several at once."""
    keeper, clock, trained = _keeper(), current_clock(), Trained()
    if keeper is None or clock is None:
        yield trained
        return
    before = _on_device(clock)
    try:
        with phase(TRAINING):
            yield trained
    finally:
        spent = {name: after - before[name] for name, after in _on_device(clock).items()}
        own = trained.seconds if is_shared else sum(spent.values())
        parts = (0.0, 0.0) if is_shared else (spent[COMPILING], spent[VALIDATION])
        place = (trial.number, trial.replicate, clock.stage)
        keeper.add(Training(*place, trained.epochs, own, *parts, is_shared=is_shared, begin=trained.begin))


def write_ledger_if_due() -> None:
    """Write the ledger of the sweep that this thread works on, if it was not written for half a minute."""
    keeper = _keeper()
    if keeper is not None:
        keeper.write_if_due()


def sweep_ledger() -> LedgerKeeper | None:
    """Return the ledger of the sweep that this thread works on, if one is kept."""
    keeper = _keeper()
    return keeper if isinstance(keeper, LedgerKeeper) else None


@dataclass
class CohortRecord:
    """What a worker tells of a cohort: its trainings, and the seconds of its phases, which sum to its time."""

    trainings: list[Training] = field(default_factory=list)
    phases: dict[str, float] = field(default_factory=dict)

    def add(self, training: Training) -> None:
        """Add a training."""
        self.trainings.append(training)

    def write_if_due(self) -> None:
        """Do nothing: the flow writes the ledger."""


@contextmanager
def cohort_recorded(stage_name: str) -> Iterator[CohortRecord]:
    """Count the block, in a worker, as a cohort of a stage; the record's phases are whole after the block."""
    record = CohortRecord()
    _open.keeper = record
    try:
        with clock_running(Clock()) as clock, stage(stage_name):
            yield record
            record.phases |= clock.read()[stage_name]
    finally:
        _open.keeper = None


def _keeper() -> Counting | None:
    found: Counting | None = getattr(_open, "keeper", None)
    return found


def _on_device(clock: Clock) -> dict[str, float]:
    return {name: clock.total(name) for name in (TRAINING, COMPILING, VALIDATION)}
