"""The standard error of a trial's objective over its held-out rows, as a metric of its run."""

import math

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.errors import RefusedRequestError
from nightune.tasks.tracking.store.store import Store, client


def write_row_error(store: Store, run_id: str, error: float) -> None:
    """Write the standard error."""
    client(store).log_metric(run_id, names.ROW_ERROR, error)


def read_row_error(store: Store, run_id: str) -> float | None:
    """Return the standard error; None if it is not recorded, or not finite."""
    try:
        error = client(store).get_run(run_id).data.metrics.get(names.ROW_ERROR)
    except RefusedRequestError:  # deleted
        return None
    return float(error) if error is not None and math.isfinite(error) else None
