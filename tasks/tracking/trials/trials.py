"""Store trials in MLflow: one child run each, written in few batches, and found by its key."""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.records import whole_records
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tasks.tracking.trials.attempts import own_attempt
from nightune.tasks.tracking.trials.checkpoints import fetch_checkpoint
from nightune.tasks.tracking.trials.runs import find_runs, finish_halted, finished_runs, is_finished, read_result
from nightune.tasks.tracking.trials.trial_log import TrialLog
from nightune.tuning.trial import Status, Trial, TrialResult

if TYPE_CHECKING:
    from nightune.tasks.prepared_data import PreparedData


NOT_REUSED = (Status.NOT_PROMOTED, Status.OVER_LIMIT)


def finished_trials(store: Store, sweep: Sweep, kind: str = "trial") -> dict[str, TrialResult]:
    """Read the sweep's finished trials, or its finished replicates, by key, without their curves."""
    results = whole_records(finished_runs(store, sweep, kind), read_result)
    return {result.trial.key: result for result in results}


def reusable_trials(store: Store, sweep: Sweep, keys: Sequence[str]) -> dict[str, TrialResult]:
    """Read finished trials of the study's other sweeps that have one of these keys.

    Failed trials are not reused, nor are those that halted at a rung, which hold only a part of the training, nor those
    over a limit of their model.
    """
    wanted = set(keys)
    return reusable_of(run for run in _ended_trials(store, sweep) if run.data.tags.get(names.TRIAL_KEY) in wanted)


def reusable_runs(store: Store, sweep: Sweep) -> dict[str, list[str]]:
    """Return the runs of all trials of the study that have ended, by key."""
    found: dict[str, list[str]] = {}
    for run in _ended_trials(store, sweep):
        found.setdefault(run.data.tags.get(names.TRIAL_KEY, ""), []).append(str(run.info.run_id))
    return found


def reusable_of(runs: Iterable[Any]) -> dict[str, TrialResult]:
    """Return the results of those runs that can be reused, by key."""
    found = whole_records((run for run in runs if is_finished(run)), read_result)
    return {result.trial.key: result for result in found if result.status not in NOT_REUSED}


def _ended_trials(store: Store, sweep: Sweep) -> Iterator[Any]:
    condition = f"{names.tag_equals(names.KIND, 'trial')} and attributes.status = 'FINISHED'"
    return find_runs(store, sweep.experiment_id, condition)


def read_curve(store: Store, run_id: str, name: str) -> list[float]:
    """Read a metric's values, one per epoch; empty for a run without the metric."""
    points = client(store).get_metric_history(run_id, name)
    return [float(point.value) for point in sorted(points, key=lambda point: int(point.step))]


def copy_as_reused(store: Store, sweep: Sweep, trial: Trial, earlier: TrialResult, data: "PreparedData") -> TrialResult:
    """Log a trial that an earlier sweep has trained: its curves, its checkpoint, and the run that they come from.

    RefusedRequestError, and nothing is logged, if the earlier run's checkpoint is missing.
    """
    mlflow_client = client(store)
    run = mlflow_client.get_run(earlier.run_id)
    tags = {names.REUSED_FROM: earlier.run_id, names.ENGINE: run.data.tags.get(names.ENGINE, "")}
    tags |= {name: run.data.tags[name] for name in (names.TRAINED_ON,) if name in run.data.tags}
    logged = [name for name in run.data.metrics if name not in (*names.ONCE, *names.PEAKS)]
    curves = {
        name: {p.step: p.value for p in mlflow_client.get_metric_history(earlier.run_id, name)} for name in logged
    }
    with tempfile.TemporaryDirectory() as folder:
        has_checkpoint = earlier.best_epoch > 0
        path = fetch_checkpoint(store, earlier.run_id, Path(folder)) if has_checkpoint else None
        log = TrialLog(store, sweep, trial, tags, data)  # after what may be missing
        for epoch in range(1, earlier.epochs + 1):
            log.log_epoch(epoch, {name: points[epoch] for name, points in curves.items() if epoch in points})
        result = replace(earlier, trial=trial, message=f"reused from run {earlier.run_id}")
        run_id = log.finish(result, path)
    return replace(result, run_id=run_id)


def attach(store: Store, run_id: str, files: Sequence[Path], folder: str) -> None:
    """Upload files to a folder of a run's artifacts, replacing files of the same name."""
    for file in files:
        client(store).log_artifact(run_id, str(file), folder)


def reconcile(store: Store, experiment_id: str) -> int:
    """Close the runs that a dead process left open and return their number; needs the study's lock.

    Unfinished trials are closed as KILLED and later resumed in the same run. A worker that was cut off from its flow,
    and still trains one, finds another token than its own, and abandons it.
    """
    trials = names.tag_differs(names.KIND, "sweep")
    open_runs = list(find_runs(store, experiment_id, f"{trials} and attributes.status = 'RUNNING'"))
    for run in open_runs:
        client(store).set_tag(run.info.run_id, names.ATTEMPT_TOKEN, own_attempt().token)
        if finish_halted(store, run):
            continue
        client(store).set_tag(run.info.run_id, names.STATUS, "interrupted")
        client(store).set_terminated(run.info.run_id, "KILLED")
    return len(open_runs)
