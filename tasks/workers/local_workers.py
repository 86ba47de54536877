"""Train on several processes of this machine: the door to the workers of a sweep."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from nightune.tasks.reporting.ledger_keeper import sweep_ledger
from nightune.tasks.setting import Setting
from nightune.tasks.trial.crash_log import open_crash_log
from nightune.tasks.workers.crew import Crew
from nightune.tasks.workers.feed import Feed
from nightune.tuning.trial import Trial, TrialResult


class LocalWorkers:
    """Trains the trials of a sweep on a crew, which starts with the first of them."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._halted_in: dict[str, str] = {}  # trial key → the worker that holds the halted training

    def train(self, setting: Setting, trials: Sequence[Trial]) -> list[TrialResult]:
        """Train the trials and return their results by number; fewer where the search's budget ends."""
        if not trials:
            return []
        open_crash_log(setting.store.root, setting.study.name).clear_training()  # of workers that were stopped
        ledger = sweep_ledger()
        with ledger.times.feeding(self._crew.names) if ledger else nullcontext():
            self._crew.start()
            return Feed(self._crew, setting, trials, self._halted_in).run()


@contextmanager
def local_workers(
    count: int, command: Sequence[str], environment: Mapping[str, str], compiled: Path
) -> Iterator[LocalWorkers | None]:
    """Provide that many workers while the block runs; None for one, which is this process itself."""
    if count == 1:
        yield None
        return
    crew = Crew(count, command, environment, compiled)
    try:
        yield LocalWorkers(crew)
    finally:
        crew.close()
