"""What all trials of a sweep share."""

from dataclasses import dataclass

from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.tracking.store.store import Store
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tuning.study.study import Study


@dataclass(frozen=True)
class Setting:
    """What all trials of a sweep share, or of one of its rungs, whose trainings halt after the epoch `rung`."""

    store: Store
    sweep: Sweep
    study: Study
    data: PreparedData
    rung: int | None = None  # None: each training goes to its end

    @property
    def epochs(self) -> int:
        """How long a trial is trained at most."""
        return self.study.search.epochs if self.rung is None else self.rung
