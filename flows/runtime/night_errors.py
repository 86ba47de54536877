"""Find out why a night's process ended: Prefect's runner knows only its exit code."""

from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter
from prefect.client.schemas.sorting import LogSort
from prefect.states import Crashed

from nightune.flows.runtime.fault_log import write_fault_text
from nightune.tasks.tracking.store.retry import masked

TRACEBACK = "Traceback (most recent call last)"


def publish_night_error(flow_run_id: UUID) -> str | None:
    """Show the error that ended a night's process as the state on Prefect's page, and return it in one line.

    The line names the file with the full text. None if the process logged no error.
    """
    with get_client(sync_client=True) as client:
        question = LogFilter.model_validate({"flow_run_id": {"any_": [flow_run_id]}, "level": {"ge_": 40}})
        logs = client.read_logs(question, sort=LogSort.TIMESTAMP_DESC)
        text = next((log.message for log in logs if TRACEBACK in log.message), None)
        if text is None:
            return None
        file = write_fault_text(text)
        last = next(line for line in reversed(text.splitlines()) if line.strip())
        reason = masked(last.strip()) + ("" if file is None else f" (full text: {file})")
        client.set_flow_run_state(flow_run_id, Crashed(message=reason), force=True)
    return reason
