"""Shared parts of the commands: arguments, signals, and errors with their exit codes."""

import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from nightune.flows.runtime.console import say
from nightune.flows.runtime.environment import prepare_environment
from nightune.flows.runtime.exit_codes import BAD_INPUT, BAD_STORE, INTERRUPTED
from nightune.settings import SettingsError, read_settings, unknown_variables

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="A study file, such as studies/digits.toml.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of standard output.")]


class EngineChoice(StrEnum):
    """The training engine."""

    AUTO = "auto"
    COMPILED = "compiled"
    FIT = "fit"


@contextmanager
def report_errors(creates_store: bool = True) -> Iterator[None]:
    """Report errors that the user can act on in one paragraph with an exit code; bugs keep their traceback.

    It checks the environment variables first. Commands that only read pass False: they create no folder.
    """
    _check_environment(creates_store)
    from nightune.models.errors import InputError  # noqa: PLC0415
    from nightune.tasks.child_server import ServerStartError  # noqa: PLC0415
    from nightune.tasks.tracking.store.errors import StoreError  # noqa: PLC0415
    from nightune.tuning.errors import StudyError  # noqa: PLC0415 - pydantic takes a moment

    try:
        yield
    except (StudyError, InputError, SettingsError) as error:
        say(str(error))
        raise typer.Exit(BAD_INPUT) from None
    except (StoreError, ServerStartError) as error:
        say(str(error))
        raise typer.Exit(BAD_STORE) from None
    except KeyboardInterrupt:
        again = shlex.join(["nightune", *sys.argv[1:]])
        say(f"Stopped. Finished trials are kept. Resume with:\n  {again}")
        raise typer.Exit(INTERRUPTED) from None
    except Exception as error:
        fault = _machine_fault(error)
        if fault is None:
            raise
        say(fault)
        raise typer.Exit(BAD_STORE) from None


def _machine_fault(error: Exception) -> str | None:
    """Return the remedy for a full disk or a failing Prefect server; None for a bug.

    A full disk also stops Prefect's server, which then cannot record why the sweep ended: report that reason instead.
    """
    from nightune.tasks.tracking.store.errors import StoreError  # noqa: PLC0415
    from nightune.tasks.tracking.store.retry import masked, transient_fault  # noqa: PLC0415

    is_prefects = type(error).__name__ == "PrefectHTTPStatusError" or type(error).__module__.startswith("http")
    if not is_prefects and not isinstance(error, OSError):
        return None
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, StoreError):
            return str(cause)
        cause = cause.__context__
    fault = transient_fault(error) if isinstance(error, OSError) else None
    if fault is None and is_prefects:
        fault = f"Prefect's server failed ({masked(str(error).splitlines()[0])})"
    remedy = "Finished trials are kept. Free the disk or fix the named cause; then run the same command again."
    return fault and f"{fault}. {remedy}"


def _check_environment(creates_store: bool) -> None:
    """Prepare the environment and warn of unknown variables; end with exit code 2 if a value cannot be used."""
    try:
        prepare_environment(creates_store)
    except SettingsError as error:
        say(str(error))
        raise typer.Exit(BAD_INPUT) from None
    if read_settings().supervisor is None:  # otherwise the parent has warned
        for line in unknown_variables():
            say(line)


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C: schedulers send it, and jobs started with & do not get SIGINT."""

    def interrupt(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
