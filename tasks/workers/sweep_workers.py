"""Train on several processes: the door to the workers of a sweep, on this machine or in a Dask cluster."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from nightune.tasks.reporting.ledger_keeper import sweep_ledger
from nightune.tasks.setting import Setting
from nightune.tasks.trial.crash_log import open_crash_log
from nightune.tasks.workers.cluster_crew import ClusterCrew
from nightune.tasks.workers.contract import Crew
from nightune.tasks.workers.feed import Feed
from nightune.tasks.workers.local_crew import LocalCrew
from nightune.tuning.trial import Trial, TrialResult


class CrewOfSweep:
    """Trains the trials of a sweep on a crew, which starts with the first of them."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._halted_in: dict[str, str] = {}  # trial key → the worker that holds the halted training

    def train(self, setting: Setting, trials: Sequence[Trial]) -> list[TrialResult]:
        """Train the trials and return their results by number; fewer where the search's budget ends."""
        if not trials:
            return []
        open_crash_log(setting.store.root, setting.study.name).clear_training()  # of workers that were stopped
        self._crew.start(setting)
        ledger = sweep_ledger()
        with ledger.times.feeding([place.name for place in self._crew.workers]) if ledger else nullcontext():
            return Feed(self._crew, setting, trials, self._halted_in).run()


@contextmanager
def local_workers(
    command: Sequence[str], environments: Sequence[Mapping[str, str]], compiled: Path
) -> Iterator[CrewOfSweep | None]:
    """Provide a worker for each environment while the block runs; None for one, which is this process itself."""
    if len(environments) == 1:
        yield None
        return
    with _closed_at_end(LocalCrew(command, environments, compiled)) as crew:
        yield crew


@contextmanager
def cluster_workers(address: str, module: str) -> Iterator[CrewOfSweep | None]:
    """Provide the workers of the Dask cluster at an address while the block runs; they start `module` to train."""
    with _closed_at_end(ClusterCrew(address, module)) as crew:
        yield crew


@contextmanager
def _closed_at_end(crew: Crew) -> Iterator[CrewOfSweep]:
    try:
        yield CrewOfSweep(crew)
    finally:
        crew.close()
