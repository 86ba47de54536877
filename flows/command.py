"""What the commands of the command line share: arguments, exit codes, and how errors and results are told."""

import json
import logging
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from flows.environment import prepare_environment

BAD_INPUT = 2
BAD_STORE = 3
INTERRUPTED = 130

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="A study file, such as studies/digits.toml.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of standard output.")]


class EngineChoice(StrEnum):
    """Who trains."""

    AUTO = "auto"
    COMPILED = "compiled"
    FIT = "fit"


@contextmanager
def errors_told() -> Iterator[None]:
    """Turn an error that the user can act on into one paragraph and an exit code; a fault of ours shows its trace."""
    prepare_environment()
    from models.errors import InputError  # noqa: PLC0415
    from tasks.tracking.errors import StoreError  # noqa: PLC0415
    from tuning.study import StudyError  # noqa: PLC0415 - pydantic takes a moment

    try:
        yield
    except (StudyError, InputError) as error:
        say(str(error))
        raise typer.Exit(BAD_INPUT) from None
    except StoreError as error:
        say(str(error))
        raise typer.Exit(BAD_STORE) from None
    except KeyboardInterrupt:
        again = shlex.join(["nightune", *sys.argv[1:]])
        say(f"Stopped. Finished trials are kept. Go on with:\n  {again}")
        raise typer.Exit(INTERRUPTED) from None
    except Exception as error:
        fault = _machine_fault(error)
        if fault is None:
            raise
        say(fault)
        raise typer.Exit(BAD_STORE) from None


def _machine_fault(error: Exception) -> str | None:
    """What to do about a full disk or a Prefect server that fails; None for a fault that is ours.

    A full disk stops Prefect's server, too, which then cannot record why the sweep ended: that is told, not this.
    """
    from tasks.tracking.errors import StoreError  # noqa: PLC0415
    from tasks.tracking.patience import masked, passing_fault  # noqa: PLC0415

    is_prefects = type(error).__name__ == "PrefectHTTPStatusError" or type(error).__module__.startswith("http")
    if not is_prefects and not isinstance(error, OSError):
        return None
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, StoreError):
            return str(cause)
        cause = cause.__context__
    fault = passing_fault(error) if isinstance(error, OSError) else None
    if fault is None and is_prefects:
        fault = f"Prefect's server fails ({masked(str(error).splitlines()[0])})"
    remedy = "Finished trials are kept. Free the disk, or mend what is said; then run the same command again."
    return fault and f"{fault}. {remedy}"


def output() -> Console:
    """The console of results: as wide as the terminal, or wide enough where there is none."""
    console = Console()
    return console if console.is_terminal else Console(width=160)


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object as one line of standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


def say(text: str) -> None:
    """Tell a person something, on standard error."""
    Console(stderr=True).print(Text(text), soft_wrap=True)


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


@contextmanager
def progress_shown() -> Iterator[None]:
    """Draw the news of a sweep on standard error while the block runs."""
    from flows.progress import SweepProgress  # noqa: PLC0415

    console = Console(stderr=True)
    handler = SweepProgress(console)
    logger = logging.getLogger("nightune")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if console.is_terminal else logging.INFO)  # epochs move the bar, and are no lines
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()
