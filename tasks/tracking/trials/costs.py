"""Record the costs of a sweep on its run: trials per hour, peak memory and devices, from its trials' runs."""

from collections.abc import Sequence
from typing import Any

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.entities import run_metrics, run_tags
from nightune.tasks.tracking.store.records import run_record, whole_records
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tasks.tracking.trials.runs import finished_runs, read_result
from nightune.tuning.analysis.throughput import Span, trials_per_hour


def record_costs(store: Store, sweep: Sweep) -> None:
    """Log the costs of the trials that this sweep has trained itself; reused trials cost it nothing."""
    whole = whole_records(finished_runs(store, sweep), _with_its_result)
    runs = [run for run in whole if names.REUSED_FROM not in run.data.tags]
    devices = sorted({run.data.tags[names.DEVICE] for run in runs if names.DEVICE in run.data.tags})
    tags = run_tags({names.DEVICE: ", ".join(devices)} if devices else {})
    client(store).log_batch(sweep.run_id, metrics=run_metrics(_numbers(runs)), tags=tags)


def _numbers(runs: Sequence[Any]) -> dict[str, float]:
    pace = trials_per_hour(map(work_span, runs))
    numbers = {} if pace is None else {names.TRIALS_PER_HOUR: pace}
    for name in names.PEAKS:
        values = [run.data.metrics[name] for run in runs if name in run.data.metrics]
        numbers |= {name: max(values)} if values else {}
    return numbers


def _with_its_result(run: Any) -> Any:
    """Return the run if its result can be read; a run that was ended by hand may have no end time."""
    read_result(run)
    if run.info.end_time is None:
        run_record(run).refuse("end time", None, "a time")
    return run


def work_span(run: Any) -> Span:
    """Return the start and end of a trial's work; a resumed one counts as started its training time before its end."""
    end = run.info.end_time / 1000
    return max(run.info.start_time / 1000, end - run.data.metrics[names.SECONDS]), end
