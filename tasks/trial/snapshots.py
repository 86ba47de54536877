"""Save snapshots of a long trial with its run, and resume from the newest one of an earlier process."""

import logging
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

COST_SHARE = 0.02  # maximum share of a trial's time for its snapshots


@dataclass(frozen=True)
class SnapshotPlan:
    """The runs of a sweep with snapshots, and the interval between two snapshots of a trial."""

    runs: Mapping[str, str]  # trial key → ID of the run with its snapshots
    seconds: float  # minimum training time between two snapshots


def plan_snapshots(unfinished: Mapping[str, Any]) -> SnapshotPlan:
    """Return the plan for the trials of a sweep, with the snapshots of its unfinished runs (by trial key)."""
    runs = {key: str(run.info.run_id) for key, run in unfinished.items() if names.SNAPSHOT in run.data.tags}
    return SnapshotPlan(runs, read_settings().snapshot_seconds)


class RunKeeper:
    """Saves one trial's snapshots with its run; calls `add_seconds` with its training time in earlier processes.

    With `keeps_halts` it saves one at each halt, from which another trial may continue. `inherited` are the epochs that
    the trial took from the one that it continues, and `resumed` those of the snapshot that was read, whose ever it is.
    """

    def __init__(
        self,
        plan: SnapshotPlan,
        store: Store,
        trial: Trial,
        log: TrialLog,
        add_seconds: Callable[[float], None],
        keeps_halts: bool = False,
    ) -> None:
        self._keeps_halts, self.inherited, self.resumed = keeps_halts, 0, 0
        self._run_id = log.kept_run or plan.runs.get(trial.key)
        self._store, self._trial, self._log, self._add_seconds = store, trial, log, add_seconds
        self._interval, self._saved_at, self._earlier_seconds = plan.seconds, time.monotonic(), 0.0

    def read(self) -> "Snapshot | None":
        """Return the newest readable snapshot, or None."""
        from nightune.models.training.snapshots import SnapshotError, read_snapshot  # noqa: PLC0415

        parent = self._trial.parent
        run_id = self._run_id or (parent.run_id if parent is not None else None)
        if not run_id:
            return None
        with tempfile.TemporaryDirectory() as folder:
            for file in fetch_snapshots(self._store, run_id, Path(folder)):
                if not self._run_id and parent is not None and file.name != _file_name(parent.epoch):
                    continue
                try:
                    snapshot = read_snapshot(file)
                except SnapshotError as error:
                    logger.warning("trial %d · %s", self._trial.number, error)
                    continue
                self._resume(snapshot)
                return snapshot
        return None

    def refuse(self, reason: str) -> None:
        """Log why the trial cannot resume, and undo the resumption."""
        logger.warning("trial %d · restarts: %s", self._trial.number, reason)
        self._add_seconds(-self._earlier_seconds)
        self.inherited = self.resumed = 0
        self._log.add_tags({names.RESUMED_AT: "0"})

    def is_due(self, is_last: bool) -> bool:
        """Return True if the interval is over, or at the halt of a trial that was resumed, or may be continued."""
        is_kept = self._keeps_halts or self._earlier_seconds > 0.0
        return time.monotonic() - self._saved_at >= self._interval or (is_last and is_kept)

    def write(self, snapshot: "Snapshot") -> None:
        """Save a snapshot; the interval grows with the cost of saving."""
        from nightune.models.training.snapshots import write_snapshot  # noqa: PLC0415

        started_at, epoch = time.monotonic(), len(snapshot.history)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / _file_name(epoch)
            retry_call(lambda: write_snapshot(file, snapshot), folder)
            self._log.keep(file, epoch)
        self._saved_at = time.monotonic()
        self._interval = max(self._interval, (self._saved_at - started_at) / COST_SHARE) if self._interval else 0.0

    def _resume(self, snapshot: "Snapshot") -> None:
        epoch = len(snapshot.history)
        if self._run_id:
            logger.info("trial %d · resumes after epoch %d", self._trial.number, epoch)
            self._log.add_tags({names.RESUMED_AT: str(epoch)})
        else:
            self.inherited = epoch
        self.resumed = epoch
        self._earlier_seconds = snapshot.seconds
        self._add_seconds(snapshot.seconds)


def _file_name(epoch: int) -> str:
    return f"epoch-{epoch:07}.npz"
