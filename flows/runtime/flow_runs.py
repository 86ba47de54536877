"""Mark Prefect's flow runs of dead processes as crashed at the next start.

The sweep closes MLflow's open runs itself, under the study's lock; in Prefect a killed flow would stay RUNNING forever.
"""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import copy_context

import psutil
from prefect import tags
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.states import Cancelled, Crashed

from nightune.flows.runtime.interrupts import reraise_lost_interrupts
from nightune.flows.runtime.prefect_server import is_own_server
from nightune.tasks.tracking.store import names

OPEN = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
STOPPED = [StateType.CANCELLING, StateType.CANCELLED]
POLL_SECONDS = 1.0


class ClosingBeside:
    """Closes flow runs of dead processes in a thread, as soon as the server answers, beside imports of this one.

    The first question to a new server takes it a quarter of a second.
    """

    def __init__(self, wait_until_it_answers: Callable[[], None]) -> None:
        self._wait, self._is_done = wait_until_it_answers, False
        self._thread = threading.Thread(target=copy_context().run, args=(self._close,), daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Return when they are closed; what the thread could not do is done here, with its errors."""
        self._thread.join()
        if not self._is_done:
            close_dead_flow_runs()

    def _close(self) -> None:
        with suppress(Exception):
            self._wait()
            close_dead_flow_runs()
            self._is_done = True


@contextmanager
def owned_flow_runs(closing: ClosingBeside | None = None) -> Iterator[None]:
    """Close flow runs of dead processes, and tag the flow runs of the block with this process.

    A cancellation in Prefect interrupts the block like SIGTERM. After any interrupt Prefect shows CANCELLED.
    """
    if closing is None:
        close_dead_flow_runs()
    else:
        closing.finish()
    ended = threading.Event()
    # In this context: the thread asks the server of these settings, and starts none of its own.
    watch = threading.Thread(target=copy_context().run, args=(_interrupt_if_cancelled, ended), daemon=True)
    watch.start()
    # Only shared servers detect dead runs by heartbeats. On our own server the owner's tag identifies them, which
    # saves the second that ending the heartbeat thread takes.
    no_heartbeats = {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None} if is_own_server() else {}
    try:
        with tags(owner_tag()), reraise_lost_interrupts(), temporary_settings(set_defaults=no_heartbeats):
            yield
    except KeyboardInterrupt:
        _cancel_own()
        raise
    finally:
        ended.set()


def owner_tag() -> str:
    """Return the tag that names the process of a flow run: host, process ID and start time."""
    started_at = int(psutil.Process().create_time())
    return f"{names.FLOW_RUN_OWNER}{socket.gethostname()}:{os.getpid()}:{started_at}"


def close_dead_flow_runs() -> int:
    """Mark open flow runs whose process on this machine has ended as crashed; return their number."""
    closed = 0
    with get_client(sync_client=True) as client:
        for run in _runs(client, OPEN):
            if _is_dead(run.tags):
                client.set_flow_run_state(run.id, Crashed(message="its process has ended"), force=True)
                closed += 1
    return closed


def _interrupt_if_cancelled(ended: threading.Event) -> None:
    """Poll for a cancellation: Prefect reports it to its own runner only."""
    with get_client(sync_client=True) as client:
        while not ended.wait(POLL_SECONDS):
            with suppress(Exception):  # a server that does not answer does not cancel
                if _runs(client, STOPPED, owner_tag()):
                    os.kill(os.getpid(), signal.SIGTERM)
                    return


def _cancel_own() -> None:
    """Mark this process' flow runs as cancelled: Prefect records an interrupt as a crash."""
    with suppress(Exception), get_client(sync_client=True) as client:  # a failure here must not block the stop
        for run in _runs(client, [*OPEN, StateType.CRASHED], owner_tag()):
            client.set_flow_run_state(run.id, Cancelled(message="stopped; run the command again to resume"), force=True)


def _runs(client: SyncPrefectClient, states: Sequence[StateType], tag: str | None = None) -> list[FlowRun]:
    query: dict[str, object] = {"state": {"type": {"any_": list(states)}}}
    if tag is not None:
        query["tags"] = {"all_": [tag]}
    return client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(query))


def _is_dead(run_tags: list[str]) -> bool:
    owned_by = names.FLOW_RUN_OWNER
    owner = next((tag.removeprefix(owned_by) for tag in run_tags if tag.startswith(owned_by)), "")
    host, _, rest = owner.partition(":")
    process, _, started_at = rest.partition(":")
    if host != socket.gethostname() or not process.isdigit() or not started_at.isdigit():
        return False  # of another machine, or without an owner
    try:
        return abs(psutil.Process(int(process)).create_time() - int(started_at)) > 2.0  # the process ID was reused
    except psutil.NoSuchProcess:
        return True
