"""Two books, one truth: Prefect's record of flow runs whose process has died is brought in line at the next start.

MLflow's open runs are closed by the sweep itself, under the study's lock; what Prefect knows of a killed flow stays
RUNNING for ever unless somebody says otherwise.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
from prefect import tags
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Crashed

OWNER = "nightune.process:"
OPEN = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]


@contextmanager
def owned_flow_runs() -> Iterator[None]:
    """Close what dead processes have left open, and mark the flow runs of the block as this process'."""
    close_dead_flow_runs()
    with tags(owner_tag()):
        yield


def owner_tag() -> str:
    """The tag of a flow run that says which process runs it: host, process, and when that process began."""
    began = int(psutil.Process().create_time())
    return f"{OWNER}{socket.gethostname()}:{os.getpid()}:{began}"


def close_dead_flow_runs() -> int:
    """Mark open flow runs of processes of this machine that are gone as crashed; return how many that were."""
    closed = 0
    with get_client(sync_client=True) as client:
        for run in _open_runs(client):
            if _is_dead(run.tags):
                client.set_flow_run_state(run.id, Crashed(message="its process has ended"), force=True)
                closed += 1
    return closed


def _open_runs(client: SyncPrefectClient) -> list[FlowRun]:
    question = FlowRunFilter.model_validate({"state": {"type": {"any_": OPEN}}})
    return client.read_flow_runs(flow_run_filter=question)


def _is_dead(run_tags: list[str]) -> bool:
    owner = next((tag.removeprefix(OWNER) for tag in run_tags if tag.startswith(OWNER)), "")
    host, _, rest = owner.partition(":")
    process, _, began = rest.partition(":")
    if host != socket.gethostname() or not process.isdigit() or not began.isdigit():
        return False  # another machine's, or none that we know
    try:
        return abs(psutil.Process(int(process)).create_time() - int(began)) > 2.0  # the number was given out again
    except psutil.NoSuchProcess:
        return True
