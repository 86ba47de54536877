"""Store what a sweep cost on its run: a file with the time of all commands, and metrics for MLflow's pages."""

import math
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.records import optional_file
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tuning.analysis.ledger import JOULES_PER_KWH, SECONDS_PER_HOUR, Ledger


def write_ledger(store: Store, sweep: Sweep, ledger: Ledger, is_whole: bool = True) -> None:
    """Write the ledger to the sweep's run, replacing an earlier one; the metrics are written last and mark it whole.

    Metrics that are no longer known are NaN. Unless it `is_whole`, other commands worked on the sweep, too: the sums
    are not those of the sweep, and all metrics are unknown.
    """
    from mlflow.entities import Metric  # noqa: PLC0415 - seconds

    client(store).log_dict(sweep.run_id, asdict(ledger), names.LEDGER)
    joules, now = ledger.joules, int(1000 * (ledger.sessions[-1].began + ledger.sessions[-1].seconds))
    values = {
        names.HOURS: ledger.seconds / SECONDS_PER_HOUR,
        names.DEVICE_SECONDS: ledger.device_seconds,
        names.ENERGY: None if joules is None else joules / JOULES_PER_KWH,
        names.COST: ledger.cost,
    }
    known = {name: value for name, value in values.items() if value is not None and is_whole}
    earlier: Any = client(store).get_run(sweep.run_id).data.metrics
    unknown = {name: math.nan for name in values if name not in known and (name in earlier or name == names.HOURS)}
    metrics = [Metric(name, value, now, 0) for name, value in (known | unknown).items()]
    client(store).log_batch(sweep.run_id, metrics=metrics)


def read_ledger(store: Store, sweep: Sweep) -> Ledger | None:
    """Return the ledger; None if the sweep is of an earlier version that kept none, or its file is damaged."""
    run: Any = client(store).get_run(sweep.run_id)
    if names.HOURS not in run.data.metrics:
        return None
    return optional_file(store, sweep.run_id, names.LEDGER, parse_ledger)


def parse_ledger(text: str) -> Ledger:
    """Read a ledger from the text of its file; ValueError if it is damaged."""
    return TypeAdapter(Ledger).validate_json(text)
