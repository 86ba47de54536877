"""The values that all trials of a sweep share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.tracking.store.background_writer import BackgroundWriter
from nightune.tasks.tracking.store.store import Store
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tasks.tracking.trials.known_trials import KnownTrials
from nightune.tasks.tracking.trials.trials import finished_trials
from nightune.tuning.search_budget import SearchBudget
from nightune.tuning.study.study import Study
from nightune.tuning.trial import Trial, TrialResult


class Workers(Protocol):
    """Processes that train trials side by side."""

    def train(self, setting: "Setting", trials: Sequence[Trial]) -> list[TrialResult]:
        """Train the trials and return their results by number; fewer where the search's budget ends."""
        ...


@dataclass(frozen=True)
class Setting:
    """The values that all trials of a sweep, or of one rung, share. A rung's trainings halt after the epoch `rung`.

    `first_rung` is the last epoch of the first rung of their round, which may be later than planned. The budget is that
    of the search, if the study ends it by more than a number of trials.
    """

    store: Store
    sweep: Sweep
    study: Study
    data: PreparedData
    rung: int | None = None  # None: no halt
    first_rung: int | None = None  # None: no rungs
    budget: SearchBudget | None = None
    uses_history: bool = False  # of earlier sweeps
    workers: Workers | None = None  # None: this process trains
    known: KnownTrials | None = None  # None: results are read from the store whenever they are needed
    writer: BackgroundWriter[TrialResult] | None = None  # None: a cohort ends when its trials are written

    @property
    def epochs(self) -> int:
        """The maximum number of epochs of a trial."""
        return self.study.search.epochs if self.rung is None else self.rung

    def finished(self) -> list[TrialResult]:
        """Return the results of the sweep's finished trials."""
        if self.known is not None:
            return self.known.results()
        return list(finished_trials(self.store, self.sweep).values())
