"""The trials of a sweep as one command knows them: read once, in pages, and then what this command adds.

A study's lock lets one command work on a sweep. A query for each rung, round or trial would return the same runs again,
at 4 to 11 ms of MLflow's Python for each.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.errors import RefusedRequestError, StoreError
from nightune.tasks.tracking.store.records import whole_records
from nightune.tasks.tracking.store.retry import in_one_line
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tasks.tracking.trials.rungs import result_at
from nightune.tasks.tracking.trials.runs import is_finished, is_unfinished, read_result, sweep_runs
from nightune.tasks.tracking.trials.trials import reusable_of, reusable_runs
from nightune.tuning.trial import Status, Trial, TrialResult


class KnownTrials:
    """The trials of a sweep that have a result. `add` is called with each that this command trains or copies.

    A result without the id of its run is still to be written; it is added again when it is.
    """

    def __init__(self, store: Store, sweep: Sweep) -> None:
        """Read the sweep's trials from the store. Damaged records are left out with a warning."""
        self._store, self._sweep = store, sweep
        self._results: dict[str, TrialResult] = {}  # by key
        self._with_rungs: dict[str, Any] = {}  # runs that have ended a rung, as read
        self._copied: set[str] = set()  # keys of trials that this sweep has not trained itself
        self._added: set[str] = set()  # keys
        self._written: dict[str, TrialResult] = {}  # by key, as last written
        self._lock = threading.Lock()
        self._wait: Callable[[], None] = _nothing  # for the records that are still to be written
        self._open: dict[str, str] = {}  # runs by key that an earlier command left to resume, those of replicates, too
        self._reusable: Mapping[str, list[str]] | None = None  # runs by key, read when they are first asked for
        for run in sweep_runs(store, sweep, names.tag_equals(names.SWEEP, sweep.id)):
            self._read(run)

    def results(self) -> list[TrialResult]:
        """Return the finished trials, those that halted at a rung included."""
        return list(self._results.values())

    def written(self) -> list[TrialResult]:
        """Return the finished trials as they are in the store: those of which something is written."""
        return list(self._written.values())

    def trained(self) -> list[TrialResult]:
        """Return the finished trials that were not copied from an earlier sweep."""
        return [result for key, result in self._results.items() if key not in self._copied]

    def results_at(self, epochs: int, keys: Iterable[str] | None = None) -> dict[str, TrialResult]:
        """Return the trials, by key, that were trained to this epoch or ended before it, as of then; of these keys."""
        wanted = dict.fromkeys([*self._with_rungs, *self._results] if keys is None else keys)
        found = ((key, self._at(key, epochs)) for key in wanted)
        return {key: result for key, result in found if result is not None}

    def add(self, result: TrialResult) -> None:
        """Add a trial that this command has trained or copied, or trained further; no replicate or audit."""
        if not result.trial.is_searched:
            return
        key, is_small = result.trial.key, not (result.curves or result.traceback)
        small = result if is_small else replace(result, curves={}, traceback="")
        with self._lock:
            if result.run_id:
                self._written[key] = small
            latest = self._results.get(key)
            if latest is None or latest.run_id or not result.run_id or _is_same(latest, result):
                self._results[key] = small
            self._added.add(key)

    @contextmanager
    def written_beside(self, wait: Callable[[], None]) -> Iterator[None]:
        """Let results be added in the block before they are written. `wait` waits until they are, but in a write."""
        self._wait = wait
        try:
            yield
        finally:
            self._wait = _nothing

    def resumed_run(self, trial: Trial) -> Callable[[], Any | None]:
        """Return what reads the run that a trial, or a replicate, would resume now: interrupted by a kill, or halted.

        It returns None if there is none.
        """
        key, result = trial.key, self._results.get(trial.key)
        if result is not None and result.status is Status.NOT_PROMOTED:
            return lambda: self._written_run(result)
        return lambda: self._run(self._open[key]) if key in self._open else None

    def reusable(self, keys: Iterable[str]) -> dict[str, TrialResult]:
        """Read finished trials of the study's sweeps that have one of these keys, as `reusable_trials` does."""
        if self._reusable is None:
            self._reusable = reusable_runs(self._store, self._sweep)
        runs = [self._run(run_id) for key in keys for run_id in self._reusable.get(key, ())]
        return reusable_of(run for run in runs if run is not None)

    def _read(self, run: Any) -> None:
        key = run.data.tags.get(names.TRIAL_KEY, "")
        if is_unfinished(run):
            self._open[key] = str(run.info.run_id)
        if run.data.tags.get(names.KIND) != "trial":
            return
        if is_finished(run):
            for result in whole_records([run], read_result):
                self._results[result.trial.key] = self._written[result.trial.key] = result
        if names.RUNG in run.data.tags:
            self._with_rungs[key] = run
        if names.REUSED_FROM in run.data.tags:
            self._copied.add(key)

    def _at(self, key: str, epochs: int) -> TrialResult | None:
        result, run = self._results.get(key), self._with_rungs.get(key)
        if key in self._added:
            # Trained further for another bracket, or failed after a rung, which its run still has.
            is_further = result is not None and (result.epochs > epochs or result.status is Status.FAILED)
            run = self._written_run(result) if result is not None and is_further else None
        if run is not None:
            return next(whole_records([run], lambda held: result_at(self._store, held, epochs)), None)
        is_short = result is not None and result.status is Status.NOT_PROMOTED and result.epochs < epochs
        return None if is_short else result

    def _written_run(self, result: TrialResult) -> Any | None:
        """Read the run of a result, once it is written. An error of a write is never one of the trial that asks."""
        try:
            self._wait()
        except (OSError, StoreError):
            raise
        except Exception as error:
            raise StoreError(_unwritten(f"{type(error).__name__}: {in_one_line(error)}")) from error
        written = self._written.get(result.trial.key)
        if written is None or written.epochs < result.epochs:  # what follows would lack the epochs in between
            raise StoreError(_unwritten("the record of its earlier rung was not"))
        return self._run(written.run_id)

    def _run(self, run_id: str) -> Any | None:
        """Read a run of the sweep's experiment by its id; None if it is deleted."""
        try:
            run = client(self._store).get_run(run_id)
        except RefusedRequestError:
            return None
        return run if run.info.lifecycle_stage == "active" else None


def _is_same(unwritten: TrialResult, written: TrialResult) -> bool:
    """True if both are of one training: a later one reaches a later epoch, or has ended in another way."""
    return (unwritten.status, unwritten.epochs) == (written.status, written.epochs)


def _unwritten(reason: str) -> str:
    return f"a finished trial could not be written ({reason}). Run the same command again to resume the sweep."


def _nothing() -> None:
    """Wait for no record: each result is added when it is written."""
