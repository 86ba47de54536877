"""Keep Prefect's record of task runs complete.

Prefect's embedded server writes task runs in the background, about 35 a second on SQLite, and drops those left when the
process ends. So a flow waits at its end until all its task runs are recorded.
"""

import logging
import time

from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext

from nightune.tasks.step import ended_task_runs

ENDED = ["COMPLETED", "FAILED", "CRASHED", "CANCELLED"]


def wait_until_recorded(limit_seconds: float = 60.0) -> int:
    """Wait until Prefect has recorded all ended task runs of the current flow run; return their number.

    After the limit it warns and returns: the trials themselves are in MLflow.
    """
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return 0
    expected = ended_task_runs(context.flow_run.id)
    query = {
        "flow_runs": {"id": {"any_": [str(context.flow_run.id)]}},
        "task_runs": {"state": {"type": {"any_": ENDED}}},
    }
    recorded = 0
    give_up_at = time.monotonic() + limit_seconds
    with get_client(sync_client=True) as client:
        while time.monotonic() < give_up_at:
            recorded = int(client.request("POST", "/task_runs/count", json=query).json())
            if recorded >= expected:
                return recorded
            time.sleep(0.1)
    logging.getLogger("nightune").warning("Prefect recorded %d of %d task runs", recorded, expected)
    return recorded
