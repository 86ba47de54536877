"""Shared parts of the commands: arguments, signals, and errors with their exit codes."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from nightune.flows.runtime.console import say
from nightune.flows.runtime.environment import prepare_environment
from nightune.flows.runtime.exit_codes import BAD_INPUT, BAD_STORE, INTERRUPTED, NO_RESULT
from nightune.flows.runtime.faults import explain
from nightune.settings import SettingsError, read_settings, unknown_variables
from nightune.tasks.tracking.store.errors import StoreError

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="A study file, such as studies/digits.toml.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of standard output.")]


class EngineChoice(StrEnum):
    """The training engine."""

    AUTO = "auto"
    COMPILED = "compiled"
    FIT = "fit"


@contextmanager
def report_errors(creates_store: bool = True, asks_store: bool = True) -> Iterator[None]:
    """Report errors in one paragraph with an exit code; the full text of unexpected ones is in a file.

    It checks the environment variables first. Commands that only read create no folder; commands that need no store do
    not ask whether a named one answers.
    """
    _check_environment(creates_store, asks_store)
    from nightune.models.errors import DamagedDataError, InputError  # noqa: PLC0415
    from nightune.tasks.child_server import ServerStartError  # noqa: PLC0415
    from nightune.tuning.errors import StudyError, SweepFailedError  # noqa: PLC0415 - pydantic takes a moment

    try:
        yield
    except DamagedDataError as error:
        say(str(error))
        raise typer.Exit(BAD_STORE) from None
    except (StudyError, InputError, SettingsError) as error:
        say(str(error))
        raise typer.Exit(BAD_INPUT) from None
    except SweepFailedError as error:
        say(str(error))
        raise typer.Exit(NO_RESULT) from None
    except (StoreError, ServerStartError) as error:
        say(str(error))
        raise typer.Exit(BAD_STORE) from None
    except KeyboardInterrupt:
        again = shlex.join(["nightune", *sys.argv[1:]])
        say(f"Stopped. Finished trials are kept. Resume with:\n  {again}")
        raise typer.Exit(INTERRUPTED) from None
    except (typer.BadParameter, typer.Exit, typer.Abort):
        raise
    except Exception as error:
        raise typer.Exit(report_fault(error)) from None


def report_fault(error: Exception) -> int:
    """Print a paragraph about an unexpected exception; return the exit code."""
    text, code = explain(error)
    say(text)
    return code


def _check_environment(creates_store: bool, asks_store: bool) -> None:
    """Prepare the environment and warn of unknown variables; end with exit code 2 or 3 if a value cannot be used."""
    try:
        prepare_environment(creates_store, asks_store)
    except SettingsError as error:
        say(str(error))
        raise typer.Exit(BAD_INPUT) from None
    except StoreError as error:
        say(str(error))
        raise typer.Exit(BAD_STORE) from None
    if read_settings().supervisor is None:  # otherwise the parent has warned
        for line in unknown_variables():
            say(line)
