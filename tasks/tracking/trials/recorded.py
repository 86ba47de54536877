"""Read what a report needs of trials beyond their results: when they ran, their curves, and the rows of their data."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.errors import DamagedRecordError, RefusedRequestError
from nightune.tasks.tracking.store.records import run_record, whole_records
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tasks.tracking.trials.runs import finished_runs, read_result
from nightune.tuning.trial import TrialResult, Value


@dataclass(frozen=True, slots=True)
class RecordedTrial:
    """A finished trial, or replicate, with the time of its end in seconds since 1970.

    `standard_error` is that of the mean over folds; None without folds.
    """

    result: TrialResult
    ended: float
    standard_error: float | None = None


def recorded_trials(store: Store, sweep: Sweep, kind: str = "trial") -> list[RecordedTrial]:
    """Read the sweep's finished trials, or its finished replicates, in the order in which they ended."""
    trials = whole_records(finished_runs(store, sweep, kind), _recorded)
    return sorted(trials, key=lambda each: (each.ended, each.result.trial.number))


def fold_errors(trials: Iterable[RecordedTrial]) -> dict[int, float]:
    """Return the standard errors of means over folds by the number of the trial; empty without folds."""
    return {each.result.trial.number: each.standard_error for each in trials if each.standard_error is not None}


def read_curves(store: Store, run_id: str, metrics: Iterable[str]) -> dict[str, dict[int, float]]:
    """Read the finite values of metrics by epoch, counted from 1; a metric that the run lacks has none."""
    curves = {}
    for name in metrics:
        points = client(store).get_metric_history(run_id, name)
        values = {int(point.step): float(point.value) for point in points}
        curves[name] = {epoch: values[epoch] for epoch in sorted(values) if epoch > 0 and math.isfinite(values[epoch])}
    return curves


def read_all_curves(store: Store, run_id: str) -> dict[int, dict[str, float]]:
    """Read all metrics of a run that have values by epoch, by epoch from 1 and by name; NaN and infinities included."""
    epochs: dict[int, dict[str, float]] = {}
    logged = set(client(store).get_run(run_id).data.metrics)
    for name in sorted(logged.difference(names.ONCE, names.PEAKS, [names.OBJECTIVE_ERROR, names.ROW_ERROR])):
        if name.startswith(names.FURTHER):
            continue
        for point in client(store).get_metric_history(run_id, name):
            if point.step > 0:
                epochs.setdefault(int(point.step), {})[name] = float(point.value)
    return {epoch: epochs[epoch] for epoch in sorted(epochs)}


def read_row_counts(store: Store, run_id: str) -> dict[str, int]:
    """Read the number of rows of each split that a trial had; empty where they are not recorded."""
    inputs = client(store).get_run(run_id).inputs
    held = inputs.dataset_inputs if inputs is not None else []
    try:
        rows = json.loads(held[0].dataset.profile)["rows"] if held else {}
        return {str(name): int(count) for name, count in rows.items()}
    except (ValueError, TypeError, KeyError, AttributeError):  # changed by hand
        return {}


def read_params(store: Store, run_id: str) -> dict[str, Value]:
    """Read the params of the trial that a run belongs to; empty where the run is deleted or damaged."""
    try:
        return dict(run_record(client(store).get_run(run_id)).table(names.PARAMS))
    except (RefusedRequestError, DamagedRecordError):
        return {}


def _recorded(run: Any) -> RecordedTrial:
    error = run.data.metrics.get(names.OBJECTIVE_ERROR)
    is_known = error is not None and math.isfinite(error)
    ended = run.info.end_time or run.info.start_time
    return RecordedTrial(read_result(run), ended / 1000, float(error) if is_known else None)
