"""Keep snapshots of a long trial with its run, and go on from the one that an earlier process left."""

import logging
import math
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightune.settings import read_settings
from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.retry import retry_call
from nightune.tasks.tracking.store.store import Store
from nightune.tasks.tracking.trials.snapshots import fetch_snapshots
from nightune.tasks.tracking.trials.trial_log import TrialLog
from nightune.tuning.trial import Trial

if TYPE_CHECKING:
    from nightune.models.training.snapshots import Snapshot

logger = logging.getLogger("nightune")

COST_SHARE = 0.02  # of a trial's time, at most, goes into its snapshots


@dataclass(frozen=True)
class Keeping:
    """What a sweep's trials are to know of snapshots: those that are there, and how often to take one."""

    runs: Mapping[str, str]  # that an earlier process left a snapshot with, by trial key
    seconds: float  # between two snapshots of a trial


NO_SNAPSHOTS = Keeping({}, math.inf)


def read_keeping(begun: Mapping[str, Any]) -> Keeping:
    """Look for snapshots among unfinished runs, by trial key."""
    runs = {key: str(run.info.run_id) for key, run in begun.items() if names.SNAPSHOT in run.data.tags}
    return Keeping(runs, read_settings().snapshot_seconds)


class RunKeeper:
    """Keeps one trial's snapshots with its run; `count` is told the seconds that it was trained before."""

    def __init__(
        self, keeping: Keeping, store: Store, trial: Trial, log: TrialLog, count: Callable[[float], None]
    ) -> None:
        self._left = log.kept_run or keeping.runs.get(trial.key)
        self._store, self._trial, self._log, self._count = store, trial, log, count
        self._pause, self._last, self._counted = keeping.seconds, time.monotonic(), 0.0

    def read(self) -> "Snapshot | None":
        """Return the newest snapshot that is whole, if there is one."""
        from nightune.models.training.snapshots import SnapshotError, read_snapshot  # noqa: PLC0415

        if self._left is None:
            return None
        with tempfile.TemporaryDirectory() as folder:
            for file in fetch_snapshots(self._store, self._left, Path(folder)):
                try:
                    snapshot = read_snapshot(file)
                except SnapshotError as error:
                    logger.warning("trial %d · %s", self._trial.number, error)
                    continue
                self._take(snapshot)
                return snapshot
        return None

    def refuse(self, reason: str) -> None:
        """Tell that the trial begins anew, and why."""
        logger.warning("trial %d · begins anew: %s", self._trial.number, reason)
        self._count(-self._counted)
        self._log.add_tags({names.RESUMED_AT: "0"})

    def is_due(self, is_last: bool) -> bool:
        """Say whether the pause is over. At a halt, a training of any length goes on only if it has been kept."""
        return time.monotonic() - self._last >= self._pause or (is_last and self._counted > 0.0)

    def write(self, snapshot: "Snapshot") -> None:
        """Keep a snapshot; the pause grows with what that costs."""
        from nightune.models.training.snapshots import write_snapshot  # noqa: PLC0415

        began, epoch = time.monotonic(), len(snapshot.history)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"epoch-{epoch:07}.npz"
            retry_call(lambda: write_snapshot(file, snapshot), folder)
            self._log.keep(file, epoch)
        self._last = time.monotonic()
        self._pause = max(self._pause, (self._last - began) / COST_SHARE) if self._pause else 0.0

    def _take(self, snapshot: "Snapshot") -> None:
        epoch = len(snapshot.history)
        logger.info("trial %d · goes on after epoch %d", self._trial.number, epoch)
        self._log.add_tags({names.RESUMED_AT: str(epoch)})
        self._counted = snapshot.seconds
        self._count(snapshot.seconds)
