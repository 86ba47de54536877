"""Run a command of Nightune in a process of its own, so that the notebook's libraries stay as they are."""

import os
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from nightune.flows.runtime.exit_codes import INTERRUPTED
from nightune.flows.runtime.processes import follow
from nightune.settings import read_settings
from nightune.tasks.child_environment import child_environment

LINES = 12  # of messages that a notebook shows at a time, and that an error quotes
FORCED_COLOUR = ("FORCE_COLOR", "CLICOLOR_FORCE")  # a notebook sets them, and shows plain text here


class CommandError(RuntimeError):
    """A command has ended with an exit code other than 0; the message has the last lines that it said.

    `exit_code`: 1 no trial has a result, 2 invalid input, 3 unusable store, 4 promotion refused.
    """

    def __init__(self, command: str, exit_code: int, said: str) -> None:
        super().__init__(f"nightune {command} ended with exit code {exit_code}:\n{said}")
        self.exit_code = exit_code


def run_command(arguments: Sequence[str]) -> str:
    """Run `nightune` with these arguments, show its messages, and return the last line of its standard output.

    CommandError if its exit code is not 0. Ctrl-C, or the notebook's stop button, stops it as in a terminal: it ends in
    seconds, with all finished trials kept.
    """
    is_terminal, environment = _is_terminal(), child_environment()
    for name in () if is_terminal else FORCED_COLOUR:
        environment.pop(name, None)
    code = f"from nightune.flows.notebooks.child_command import main; main({os.getpid()})"
    said = deque[str](maxlen=LINES)
    with tempfile.TemporaryFile() as output:  # no pipe: a full one would stop the child, while its messages are read
        child = subprocess.Popen(
            [sys.executable, "-P", "-c", code, *arguments],
            env=environment,
            stdout=output,
            stderr=None if is_terminal else subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # a signal for the notebook reaches it once, from here
        )
        with child:
            try:
                _show(child, said)
                exit_code = child.wait()
            except KeyboardInterrupt:
                child.send_signal(signal.SIGINT)
                child.wait()
                raise
        output.seek(0)
        lines = output.read().decode().splitlines()
    if exit_code == INTERRUPTED:
        raise KeyboardInterrupt
    if exit_code:
        raise CommandError(arguments[0], exit_code, "\n".join(said) or "its messages are above")
    return lines[-1] if lines else ""


def main(parent: int) -> None:
    """In the child: run the command line, and end with the process that started it."""
    if read_settings().supervisor is None:  # the process that trains ends with this one
        follow(parent)
    from nightune.flows.commands.main import main as run  # noqa: PLC0415 - prepares the environment first

    run()


def _is_terminal() -> bool:
    return _kernel() is None and sys.stderr.isatty()


def _show(child: "subprocess.Popen[str]", said: "deque[str]") -> None:
    """Show the messages of the child as they come, until it closes them."""
    show = _shown()
    for line in child.stderr or ():
        said.append(line.rstrip("\n"))
        show(said)


def _shown() -> Callable[["deque[str]"], None]:
    """Return a function that shows messages: the last ones in one place of a notebook, else each on standard error."""
    if _kernel() is None:
        return lambda said: print(said[-1], file=sys.stderr, flush=True)
    place = import_module("IPython.display").display({"text/plain": ""}, raw=True, display_id=True)
    return lambda said: place.update({"text/plain": "\n".join(said)}, raw=True)


def _kernel() -> Any:
    """Return the kernel of the notebook that runs this process; None outside of notebooks."""
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    return getattr(shell, "kernel", None)
