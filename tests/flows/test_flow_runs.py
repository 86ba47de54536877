"""Flow runs of dead processes are closed at the next start; those of running ones are left alone."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest
from prefect import flow, tags
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.context import TaskRunContext
from prefect.settings import get_current_settings
from prefect.states import Running

from nightune.flows.runtime import flow_runs as reconcile
from nightune.flows.runtime.flow_runs import ClosingBeside, close_dead_flow_runs, owned_flow_runs, owner_tag
from nightune.tasks.step import named_step, step
from nightune.tasks.tracking.store.names import FLOW_RUN_OWNER

pytestmark = pytest.mark.usefixtures("prefect_server")


@flow(name="nothing")
def nothing() -> None:
    """Do nothing."""


def open_flow_run(tag: str) -> FlowRun:
    with get_client(sync_client=True) as client:
        return client.create_flow_run(nothing, tags=[tag], state=Running())


def state_of(run: FlowRun) -> str:
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(run.id).state
    assert state is not None
    return state.type.value


def test_flow_runs_of_dead_processes_are_closed_and_no_others() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    began = int(psutil.Process(ended.pid).create_time())
    ended.wait()
    host = socket.gethostname()
    dead = open_flow_run(f"{FLOW_RUN_OWNER}{host}:{ended.pid}:{began}")
    reused_number = open_flow_run(f"{FLOW_RUN_OWNER}{host}:{os.getpid()}:1000")
    alive = open_flow_run(owner_tag())
    elsewhere = open_flow_run(f"{FLOW_RUN_OWNER}other:{ended.pid}:{began}")
    unknown = open_flow_run("unknown")
    assert close_dead_flow_runs() == 2
    assert [state_of(run) for run in (dead, reused_number)] == ["CRASHED", "CRASHED"]
    assert [state_of(run) for run in (alive, elsewhere, unknown)] == ["RUNNING"] * 3
    for run in (alive, elsewhere, unknown):
        with get_client(sync_client=True) as client:
            client.delete_flow_run(run.id)


@pytest.mark.parametrize("answers", [True, False])
def test_they_are_closed_once_a_thread_or_the_block_reaches_the_server(answers: bool) -> None:
    def wait() -> None:
        if not answers:
            raise OSError("not yet")

    dead = open_flow_run(f"{FLOW_RUN_OWNER}{socket.gethostname()}:{os.getpid()}:1000")
    with owned_flow_runs(ClosingBeside(wait)):
        assert state_of(dead) == "CRASHED"


def test_a_flow_run_carries_the_tag_of_its_process() -> None:
    with tags(owner_tag()):
        state = nothing(return_state=True)
    with get_client(sync_client=True) as client:
        assert owner_tag() in client.read_flow_run(state.state_details.flow_run_id).tags


@step
def tags_of_this_run() -> list[str]:
    """The tags for which Prefect would request a slot."""
    context = TaskRunContext.get()
    assert context is not None
    return context.task_run.tags


@flow(name="one task")
def one_task() -> list[str]:
    """Run a task."""
    return tags_of_this_run()


def test_task_runs_have_the_users_tags_and_none_of_ours() -> None:
    with tags(owner_tag(), "team"):
        assert one_task() == ["team"]


class Read(list[int]):
    """A list that notes how often it is read through."""

    times = 0

    def __iter__(self) -> Iterator[int]:
        self.times += 1
        return super().__iter__()


@named_step(lambda given: f"reads {given['values'].times}")
def same(values: list[int], *, more: list[int]) -> tuple[list[int], list[int]]:
    """Return what is given."""
    return values, more


@flow(name="two lists")
def two_lists() -> None:
    """Run a task with values that nothing but the task may read."""
    values, more = Read([1]), Read([2])
    assert [each is given for each, given in zip(same(values, more=more), (values, more), strict=True)] == [True, True]
    assert (values.times, more.times) == (0, 0)


def test_arguments_of_a_step_are_not_read_through() -> None:
    two_lists()


@pytest.mark.parametrize("is_ours", [True, False])
def test_heartbeats_are_sent_to_servers_that_others_look_at(monkeypatch: pytest.MonkeyPatch, is_ours: bool) -> None:
    monkeypatch.setattr(reconcile, "is_own_server", lambda: is_ours)
    usual = get_current_settings().flows.heartbeat_frequency
    assert usual is not None
    with owned_flow_runs():
        assert get_current_settings().flows.heartbeat_frequency == (None if is_ours else usual)
