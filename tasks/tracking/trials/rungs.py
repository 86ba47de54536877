"""Read trials as of the end of a rung from runs that may have been trained further since.

A run logs `objective`, `best_epoch`, `epochs` and `seconds` at the end of each rung, with the epoch as step, and then
the tag `nightune.rung`: up to that epoch it is completely logged.
"""

import math
from collections.abc import Iterable
from typing import Any

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.records import Record, run_record, whole_records
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tasks.tracking.trials.attempts import run_of_trial
from nightune.tasks.tracking.trials.runs import as_trial, is_finished, read_result, sweep_runs
from nightune.tuning.trial import Status, Trial, TrialResult


def rung_results(store: Store, sweep: Sweep, epochs: int) -> dict[str, TrialResult]:
    """Read the sweep's trials that were trained to this epoch or ended before it, by key, without their curves.

    A trial that was trained further is returned as of this epoch, so that a resumed rung keeps the same survivors.
    """
    condition = f"{names.tag_equals(names.SWEEP, sweep.id)} and {names.tag_equals(names.KIND, 'trial')}"
    runs = sweep_runs(store, sweep, condition)
    results = whole_records(runs, lambda run: result_at(store, run, epochs))
    return {result.trial.key: result for result in results if result is not None}


def results_of(store: Store, sweep: Sweep, trials: Iterable[Trial], epochs: int) -> dict[str, TrialResult]:
    """Read the results of these trials or replicates as `rung_results` does: each by its key, not all of the sweep."""
    runs = [run for trial in trials if (run := run_of_trial(store, sweep, trial.key)) is not None]
    results = whole_records(runs, lambda run: result_at(store, run, epochs))
    return {result.trial.key: result for result in results if result is not None}


def result_at(store: Store, run: Any, epochs: int) -> TrialResult | None:
    """Read a trial's result as of an epoch from its run; None if it was not trained so far and has not ended."""
    logged_until = run_record(run).integer(names.RUNG, 0)
    if is_finished(run):
        result = read_result(run)
        if logged_until < epochs or (result.status is Status.NOT_PROMOTED and result.epochs == epochs):
            return None if result.status is Status.NOT_PROMOTED and result.epochs < epochs else result
    return _halted(store, run, epochs) if logged_until >= epochs else None


def _halted(store: Store, run: Any, epochs: int) -> TrialResult | None:
    """Return the result at a rung's end, from the metric histories; None if the trial had no rung at this epoch."""
    values = {
        name: value_at(store, run.info.run_id, name, epochs) for name in (*names.ONCE, names.UPDATES, names.EXAMPLES)
    }
    if math.isnan(values[names.EPOCHS]):
        return None
    record = Record(run_record(run).subject, run.data.tags, values)
    return TrialResult(
        trial=as_trial(run),
        status=Status.NOT_PROMOTED,
        objective=values[names.OBJECTIVE],
        best_epoch=record.count(names.BEST_EPOCH),
        epochs=epochs,
        updates=record.count(names.UPDATES),
        examples=record.count(names.EXAMPLES),
        seconds=values[names.SECONDS],
        run_id=str(run.info.run_id),
    )


def objectives_at(store: Store, results: Iterable[TrialResult], epochs: int) -> dict[int, float]:
    """Return the finite objectives of trials at the end of a rung, by number; without those that had no rung there."""
    values = {each.trial.number: value_at(store, each.run_id, names.OBJECTIVE, epochs) for each in results}
    return {number: value for number, value in values.items() if math.isfinite(value)}


def value_at(store: Store, run_id: str, name: str, epochs: int) -> float:
    """Return the value of a metric in an epoch, counted from 1; NaN if the run has none there."""
    points = client(store).get_metric_history(run_id, name)
    return next((float(point.value) for point in points if point.step == epochs), math.nan)
