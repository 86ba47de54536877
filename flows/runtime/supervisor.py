"""Run a sweep in a child process, so that a trial that crashes its process does not end the night.

The parent waits, forwards signals, and restarts the command if the child dies in a trial; the trial is retried twice.
A child whose parent dies ends at once.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

import typer

from nightune.flows.runtime.console import say
from nightune.flows.runtime.environment import store_root
from nightune.flows.runtime.exit_codes import INTERRUPTED
from nightune.flows.runtime.processes import follow
from nightune.settings import SUPERVISOR, read_settings
from nightune.tasks.trial.crash_log import MAX_ATTEMPTS, CrashLog, open_crash_log

if TYPE_CHECKING:
    from nightune.tuning.study.study import Study

FORWARDED = (signal.SIGINT, signal.SIGTERM)
ONCE = ("--retry-failed",)  # options that the first child has carried out: a restart must not repeat them


def supervised(read_study: Callable[[], "Study"]) -> None:
    """Continue in a child process, which is restarted if a trial crashes it; only the child returns.

    The parent reads the study, so that a bad file is refused before Prefect starts. The child's flow reads it.
    """
    supervisor = read_settings().supervisor
    if supervisor is not None:
        follow(supervisor)
        return
    name = read_study().name
    command = [sys.executable, *sys.orig_argv[1:]]
    raise typer.Exit(supervise(command, open_crash_log(store_root(), name), say))


def supervise(command: Sequence[str], crash_log: CrashLog, say: Callable[[str], None]) -> int:
    """Run a command in a child until it ends by itself; return its exit code.

    If a signal kills it in a trial, restart it; if a signal kills it elsewhere, return 128 + the signal's number.
    """
    while True:
        child = subprocess.Popen(command, env=os.environ | {SUPERVISOR: str(os.getpid())}, process_group=0)
        with _forward_signals(child):
            code = child.wait()
        _end_group(child.pid)
        if code >= 0:
            return code
        if -code in FORWARDED:
            return INTERRUPTED
        cause = _signal_name(-code)
        crash = crash_log.record_crash(child.pid, cause)
        if crash is None:
            say(f"The process died outside of any trial ({cause}). Finished trials are kept; run the command again.")
            return 128 - code
        command = [word for word in command if word not in ONCE]
        attempt = "given up" if crash.is_final else f"attempt {crash.count} of {MAX_ATTEMPTS}"
        say(f"{crash.subject} · {crash.message} · {attempt}. Restarting; finished trials are kept.")


@contextmanager
def _forward_signals(child: "subprocess.Popen[bytes]") -> Iterator[None]:
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


def _signal_name(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return f"{name}, perhaps out of memory" if number == signal.SIGKILL else name
