"""Print messages and progress on standard error, and results on standard output."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.text import Text

from nightune.flows.runtime.text_streams import json_text, show_every_text


def output() -> Console:
    """Return the console for results: as wide as the terminal, or 160 columns if there is none."""
    show_every_text()
    console = Console()
    return console if console.is_terminal else Console(width=160)


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object as one line of standard output."""
    sys.stdout.write(json_text(value) + "\n")


def say(text: str) -> None:
    """Print a message on standard error."""
    show_every_text()
    Console(stderr=True).print(Text(text), soft_wrap=True)


@contextmanager
def progress_shown() -> Iterator[None]:
    """Show the progress of a sweep on standard error while the block runs."""
    from nightune.flows.runtime.progress_bar import SweepProgress  # noqa: PLC0415

    show_every_text()
    console = Console(stderr=True)
    handler = SweepProgress(console)
    logger = logging.getLogger("nightune")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if console.is_terminal else logging.INFO)  # epochs move the bar but print no line
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()
