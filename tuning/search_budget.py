"""Decide before each trial whether a search may still train it, by the ends of the study: epochs, hours, a time of day.

A trial is trained if it and the confirmation after it are expected to fit. Epochs are counted as if nothing stopped
early, so that their total is never exceeded; seconds are expected from the trainings before. A training that takes
longer than expected is ended with its epoch after the end of the whole budget, and leaves no result.
"""

import threading
from collections.abc import Callable, Iterable
from dataclasses import InitVar, dataclass, replace
from datetime import datetime

from nightune.tuning.study.ends import HOUR, end_text
from nightune.tuning.study.search_section import SearchSection
from nightune.tuning.trial import Status, Trial, TrialResult

RECORD_SECONDS = 30.0
RECORD_SHARE = 0.5  # of what a process has taken: a loop of processes that are soon killed counts, too


class SearchEndedError(Exception):
    """The search has ended while a trial was trained."""


@dataclass(frozen=True, slots=True)
class _Training:
    """What a trial has trained so far, over all its rungs."""

    epochs: int
    seconds: float
    is_full: bool


@dataclass
class SearchBudget:
    """Counts what the trials of a search train against its ends. Several threads may ask it.

    `results` are those of the sweep so far, and `earlier_seconds` what its search has taken in earlier processes;
    `replicates` returns the trainings of the confirmation after so many trials. `clock` counts seconds, `now` tells the
    time.
    """

    search: SearchSection
    replicates: Callable[[int], int]
    results: InitVar[Iterable[TrialResult]]
    clock: Callable[[], float]
    now: Callable[[], datetime]
    earlier_seconds: float = 0.0
    deadline: datetime | None = None
    ended_by: str = ""

    def __post_init__(self, results: Iterable[TrialResult]) -> None:
        self._here = self.clock()
        self._began = self._here - self.earlier_seconds
        self._trained = {result.trial.key: _training(result) for result in results}
        self._reserved: dict[str, int] = {}  # epochs, of the trials that train now
        self._lock = threading.Lock()
        self._recorded_at = self._here

    @property
    def seconds(self) -> float:
        """The seconds that the search has taken, in earlier processes, too."""
        return self.clock() - self._began

    def is_record_due(self) -> bool:
        """True if what the search has taken should be recorded, for a process that is killed; the caller does it.

        Once in half a minute, and before whenever half of what this process has taken is not recorded.
        """
        now = self.clock()
        is_due = now - self._recorded_at > min(RECORD_SECONDS, RECORD_SHARE * (now - self._here))
        if is_due:
            self._recorded_at = now
        return is_due

    def admits(self, trial: Trial, epochs: int) -> bool:
        """True if the trial may be trained to this epoch, for which its epochs are reserved.

        Else the search has ended, unless others train: these may end early, and leave room.
        """
        with self._lock:
            before = self._trained.get(trial.key)
            added = epochs - (before.epochs if before else 0)
            trials = {*self._trained, *self._reserved, trial.key}
            end = self._end(added, self.replicates(len(trials)))
            if end and not self._reserved:
                self.ended_by = self.ended_by or end
            if end or self.ended_by:
                return False
            self._reserved[trial.key] = added
            return True

    def settle(self, trial: Trial, result: TrialResult | None, own_seconds: float | None = None) -> None:
        """Count a trained trial instead of its reserved epochs; None if it has no result.

        `own_seconds` are those of this training alone, where the result's include waiting for others beside it.
        """
        with self._lock:
            self._reserved.pop(trial.key, None)
            if result is not None:
                before = self._trained.get(trial.key)
                trained = _training(result)
                if own_seconds is not None:
                    trained = replace(trained, seconds=own_seconds + (before.seconds if before else 0.0))
                self._trained[trial.key] = trained

    def check(self) -> None:
        """Raise SearchEndedError if the time of the whole budget is over; called after each epoch."""
        over = self._time_end(0.0)
        if over:
            self.ended_by = self.ended_by or over
            raise SearchEndedError(over)

    def end(self, key: str) -> None:
        """End the search by this end of the study."""
        self.ended_by = self.ended_by or end_text(key, self.search.ends[key])

    def _end(self, added: int, replicates: int) -> str:
        """Return the end that a training of so many epochs, and the replicates after it, would exceed; or empty."""
        search = self.search
        spent = sum(each.epochs for each in self._trained.values()) + sum(self._reserved.values())
        if search.total_epochs is not None and spent + added + replicates * search.epochs > search.total_epochs:
            return end_text("total_epochs", search.total_epochs)
        expected = added * self._seconds_per_epoch + replicates * self._seconds_of_replicate
        return self._time_end(expected) or self._device_end(expected)

    def _time_end(self, expected: float) -> str:
        search = self.search
        if search.hours is not None and self.seconds + expected > search.hours * HOUR:
            return end_text("hours", search.hours)
        if self.deadline is not None and (self.deadline - self.now()).total_seconds() < expected:
            return end_text("until", search.until)
        return ""

    def _device_end(self, expected: float) -> str:
        limit = self.search.device_hours
        spent = sum(each.seconds for each in self._trained.values())
        spent += sum(self._reserved.values()) * self._seconds_per_epoch
        return end_text("device_hours", limit) if limit is not None and spent + expected > limit * HOUR else ""

    @property
    def _seconds_per_epoch(self) -> float:
        """The mean of the trials so far; 0 before the first."""
        epochs = sum(each.epochs for each in self._trained.values())
        return sum(each.seconds for each in self._trained.values()) / epochs if epochs else 0.0

    @property
    def _seconds_of_replicate(self) -> float:
        """What a replicate is expected to take: as long as trials that trained to their end."""
        full = [each.seconds for each in self._trained.values() if each.is_full]
        return sum(full) / len(full) if full else 0.0


def _training(result: TrialResult) -> _Training:
    return _Training(result.epochs, result.seconds, result.status is not Status.NOT_PROMOTED and result.epochs > 0)
