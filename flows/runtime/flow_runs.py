"""Two books, one truth: Prefect's record of flow runs whose process has died is brought in line at the next start.

MLflow's open runs are closed by the sweep itself, under the study's lock; what Prefect knows of a killed flow stays
RUNNING for ever unless somebody says otherwise.
"""

import os
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import psutil
from prefect import tags
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.states import Cancelled, Crashed

from nightune.flows.runtime.interrupts import lost_interrupts_given_again
from nightune.flows.runtime.prefect_server import is_alone
from nightune.tasks.tracking.store import names

OPEN = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
STOPPED = [StateType.CANCELLING, StateType.CANCELLED]
LOOK_SECONDS = 1.0


@contextmanager
def owned_flow_runs() -> Iterator[None]:
    """Close what dead processes have left open, and mark the flow runs of the block as this process'.

    A cancellation in Prefect interrupts the block like SIGTERM; however it is interrupted, Prefect says CANCELLED.
    """
    close_dead_flow_runs()
    ended = threading.Event()
    watch = threading.Thread(target=_stop_if_cancelled, args=(ended,), daemon=True)
    watch.start()
    # Who looks for dead runs by their heartbeats has a server; ours are found by their owner, and need not wait for a
    # heartbeat's thread at the end, up to a second.
    no_heartbeats = {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None} if is_alone() else {}
    try:
        with tags(owner_tag()), lost_interrupts_given_again(), temporary_settings(set_defaults=no_heartbeats):
            yield
    except KeyboardInterrupt:
        _cancel_own()
        raise
    finally:
        ended.set()


def owner_tag() -> str:
    """The tag of a flow run that says which process runs it: host, process, and when that process began."""
    began = int(psutil.Process().create_time())
    return f"{names.FLOW_RUN_OWNER}{socket.gethostname()}:{os.getpid()}:{began}"


def close_dead_flow_runs() -> int:
    """Mark open flow runs of processes of this machine that are gone as crashed; return how many that were."""
    closed = 0
    with get_client(sync_client=True) as client:
        for run in _runs(client, OPEN):
            if _is_dead(run.tags):
                client.set_flow_run_state(run.id, Crashed(message="its process has ended"), force=True)
                closed += 1
    return closed


def _stop_if_cancelled(ended: threading.Event) -> None:
    """Prefect tells only its own runner of a cancellation: a process that runs a flow itself has to ask."""
    with get_client(sync_client=True) as client:
        while not ended.wait(LOOK_SECONDS):
            with suppress(Exception):  # a server that does not answer cancels nothing
                if _runs(client, STOPPED, owner_tag()):
                    os.kill(os.getpid(), signal.SIGTERM)
                    return


def _cancel_own() -> None:
    """Prefect takes an interrupt for a crash; it was asked for."""
    with suppress(Exception), get_client(sync_client=True) as client:  # the stop itself must not fail
        for run in _runs(client, [*OPEN, StateType.CRASHED], owner_tag()):
            client.set_flow_run_state(run.id, Cancelled(message="stopped; the same command goes on"), force=True)


def _runs(client: SyncPrefectClient, states: Sequence[StateType], tag: str | None = None) -> list[FlowRun]:
    question: dict[str, object] = {"state": {"type": {"any_": list(states)}}}
    if tag is not None:
        question["tags"] = {"all_": [tag]}
    return client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(question))


def _is_dead(run_tags: list[str]) -> bool:
    owned_by = names.FLOW_RUN_OWNER
    owner = next((tag.removeprefix(owned_by) for tag in run_tags if tag.startswith(owned_by)), "")
    host, _, rest = owner.partition(":")
    process, _, began = rest.partition(":")
    if host != socket.gethostname() or not process.isdigit() or not began.isdigit():
        return False  # another machine's, or none that we know
    try:
        return abs(psutil.Process(int(process)).create_time() - int(began)) > 2.0  # the number was given out again
    except psutil.NoSuchProcess:
        return True
