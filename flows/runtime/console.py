"""Print messages and progress on standard error, and results on standard output."""

import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from nightune.flows.runtime.text_streams import json_text, show_every_text

PIPED_COLUMNS = 160
FEWEST_COLUMNS = 20


class Messages(Console):
    """A console on standard error: a closed pipe ends its messages, and not the process as in rich."""

    def on_broken_pipe(self) -> None:
        """Print nothing any more."""
        self.quiet = True


def output(is_json: bool = False) -> Console:
    """Return the console for results; beside JSON it is standard error.

    It is as wide as the terminal; without one, as COLUMNS says, or 160 columns.
    """
    show_every_text()
    console = Console(stderr=is_json)
    if console.is_terminal:
        return console
    return Console(stderr=is_json, width=_columns() or PIPED_COLUMNS)


def print_table(console: Console, table: Table) -> None:
    """Print a table; one that needs more columns than the console has is wider than it, rather than cut.

    Its title is a line of its own: in the table it would be folded to the width of the columns.
    """
    unlimited, width = console.options.update(max_width=10 * PIPED_COLUMNS), console.width
    for column in table.columns:
        column.overflow = "fold"
        if column.no_wrap:
            cells = [column.header, *column.cells]
            column.min_width = max(Measurement.get(console, unlimited, cell).maximum for cell in cells)
    needed = Measurement.get(console, unlimited, table).minimum
    console.width = max(width, min(needed, PIPED_COLUMNS))  # a longer word is folded
    if table.title:
        console.print(Text(str(table.title), style="table.title"), soft_wrap=True)
        table.title = None
    console.print(table, crop=False)
    console.width = width


def ignore_unusable_width() -> None:
    """Remove COLUMNS from the environment if no line fits into so few: nothing would be printed."""
    if _columns() is None:
        os.environ.pop("COLUMNS", None)


def _columns() -> int | None:
    text = os.environ.get("COLUMNS", "")
    columns = int(text) if re.fullmatch("[0-9]{1,6}", text) else 0
    return columns if columns >= FEWEST_COLUMNS else None


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object as one line of standard output."""
    sys.stdout.write(json_text(value) + "\n")


def say(text: str) -> None:
    """Print a message on standard error; nothing if its terminal or pipe is closed."""
    show_every_text()
    with suppress(OSError):
        Messages(stderr=True).print(Text(text), soft_wrap=True)


@contextmanager
def progress_shown() -> Iterator[None]:
    """Show the progress of a sweep on standard error while the block runs."""
    from nightune.flows.runtime.progress_bar import SweepProgress  # noqa: PLC0415

    show_every_text()
    console = Messages(stderr=True)
    handler = SweepProgress(console)
    logger = logging.getLogger("nightune")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if console.is_terminal else logging.INFO)  # epochs move the bar but print no line
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()
