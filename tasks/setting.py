"""The values that all trials of a sweep share."""

from dataclasses import dataclass

from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.tracking.store.store import Store
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tuning.search_budget import SearchBudget
from nightune.tuning.study.study import Study


@dataclass(frozen=True)
class Setting:
    """The values that all trials of a sweep, or of one rung, share. A rung's trainings halt after the epoch `rung`.

    The budget is that of the search, if the study ends it by more than a number of trials.
    """

    store: Store
    sweep: Sweep
    study: Study
    data: PreparedData
    rung: int | None = None  # None: no halt
    budget: SearchBudget | None = None
    uses_history: bool = False  # of earlier sweeps

    @property
    def epochs(self) -> int:
        """The maximum number of epochs of a trial."""
        return self.study.search.epochs if self.rung is None else self.rung
