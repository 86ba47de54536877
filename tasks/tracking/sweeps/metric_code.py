"""The code of a user's metric on the run of a sweep: by other code, scores of the same name are not comparable."""

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep


def write_metric_code(store: Store, sweep: Sweep, code: str) -> None:
    """Write the digest of the code that measures the objective; nothing for a built-in metric, whose code is empty."""
    if code:
        client(store).set_tag(sweep.run_id, names.METRIC_CODE, code)


def read_metric_code(store: Store, sweep: Sweep) -> str:
    """Return the digest of the code that measured the objective; empty for a built-in metric."""
    return str(client(store).get_run(sweep.run_id).data.tags.get(names.METRIC_CODE, ""))
