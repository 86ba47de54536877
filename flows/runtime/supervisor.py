"""Run a sweep in a child process, so that a trial that crashes its process does not end the night.

The parent waits, forwards signals, and restarts the command if the child dies in a trial; the trial is retried twice.
A child whose parent dies ends at once. The first child is forked where that is safe, with what the parent has imported.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Protocol

import typer

from nightune.flows.runtime.console import say
from nightune.flows.runtime.environment import store_root
from nightune.flows.runtime.exit_codes import INTERRUPTED
from nightune.flows.runtime.processes import follow
from nightune.settings import SUPERVISOR, read_settings
from nightune.tasks.trial.crash_log import CrashLog, open_crash_log, signal_name

if TYPE_CHECKING:
    from nightune.tuning.study.study import Study

FORWARDED = (signal.SIGINT, signal.SIGTERM)
ONCE = ("--retry-failed",)  # options that the first child has carried out: a restart must not repeat them


_commands: list[int] = []  # the process that is the command line and nothing else


class Child(Protocol):
    """A child process, as `subprocess.Popen` describes one."""

    @property
    def pid(self) -> int:
        """Its number, and that of its process group."""

    def send_signal(self, sig: int) -> None:
        """Send it a signal."""

    def wait(self) -> int:
        """Wait until it ends; return its exit code, or minus the number of the signal that killed it."""


@contextmanager
def process_of_its_own() -> Iterator[None]:
    """Say that this process ends with the block: it may be forked, and both processes end with their blocks."""
    _commands.append(os.getpid())
    try:
        yield
    finally:
        _commands.clear()


def supervised(read_study: Callable[[], "Study"]) -> None:
    """Continue in a child process, which is restarted if a trial crashes it; only the child returns.

    The parent reads the study, so that a bad file is refused before Prefect starts. The child's flow reads it.
    """
    supervisor = read_settings().supervisor
    if supervisor is not None:
        follow(supervisor)
        return
    crash_log = open_crash_log(store_root(), read_study().name)
    command = [sys.executable, *sys.orig_argv[1:]]
    forked = _fork() if _may_fork() else None
    if forked is not None and forked.pid == 0:
        return
    raise typer.Exit(supervise(command, crash_log, say, forked))


def supervise(
    command: Sequence[str], crash_log: CrashLog, say: Callable[[str], None], first: Child | None = None
) -> int:
    """Run a command in a child until it ends by itself; return its exit code. `first` is a child that runs it already.

    If a signal kills it in a trial, restart it; if a signal kills it elsewhere, return 128 + the signal's number.
    """
    child = first
    while True:
        if child is None:
            child = subprocess.Popen(command, env=os.environ | {SUPERVISOR: str(os.getpid())}, process_group=0)
        with _forward_signals(child):
            code = child.wait()
        _end_group(child.pid)
        if code >= 0:
            return code
        if -code in FORWARDED:
            return INTERRUPTED
        cause = signal_name(-code)
        crash = crash_log.record_crash(child.pid, cause)
        if crash is None:
            say(f"The process died outside of any trial ({cause}). Finished trials are kept; run the command again.")
            return 128 - code
        command, child = [word for word in command if word not in ONCE], None
        say(f"{crash.subject} · {crash.message} · {crash.attempt}. Restarting; finished trials are kept.")


@dataclass(frozen=True)
class _Forked:
    """A copy of this process; `pid` is 0 in the copy itself."""

    pid: int

    def send_signal(self, sig: int) -> None:
        """Send it a signal: until `wait` has returned, its number is no other process'."""
        os.kill(self.pid, sig)

    def wait(self) -> int:
        """Wait until it ends; return its exit code, or minus the number of the signal that killed it."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def _may_fork() -> bool:
    """True if a copy of this process is safe: on Linux, without other threads, and where no code follows the command.

    Elsewhere frameworks of the system, or locks that another thread holds, may not work in the copy.
    """
    return sys.platform == "linux" and _commands == [os.getpid()] and threading.active_count() == 1


def _fork() -> _Forked:
    """Continue in this process and in a copy of it, which has a process group of its own and ends with this one."""
    parent = os.getpid()
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # closed ones
            stream.flush()  # otherwise both write what waits there
    child = _Forked(os.fork())
    with suppress(OSError):  # both processes set it: whichever comes first
        os.setpgid(child.pid, child.pid)
    if child.pid == 0:
        os.environ[SUPERVISOR] = str(parent)
        follow(parent)
    return child


@contextmanager
def _forward_signals(child: Child) -> Iterator[None]:
    """Forward the parent's signals to the child, which is in a process group of its own: it gets each signal once."""

    def forward(number: int, _frame: FrameType | None) -> None:
        child.send_signal(number)

    before = {number: signal.signal(number, forward) for number in FORWARDED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_group(leader: int) -> None:
    """Kill the processes that a dead child has left: Prefect's embedded server outlives a killed process."""
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
