"""The command that writes a first study for a file of data: `nightune init`."""

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from nightune.flows.commands.options import report_errors
from nightune.flows.runtime.console import output
from nightune.models.heavy_imports import lasting_imports


def write_first_study(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A file of data, or a folder of images by class.")],
    target: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column to predict; default: one named target, or the last.")
    ] = None,
    folder: Annotated[Path, typer.Option(metavar="FOLDER", help="Existing folder to write into.")] = Path(),
) -> None:
    """Write a commented study and a small model for a file of data; it replaces no file."""
    with report_errors(creates_store=False, asks_store=False):
        with lasting_imports():
            from nightune.tasks.first_study import write_first_study  # noqa: PLC0415 - scikit-learn and pandas

        written = write_first_study(data, target, folder)
    console, study = output(), shlex.quote(str(written.study))
    lines = [f"Written: {written.study} and {written.model}", f"The data: {written.data}"]
    if written.target is not None:
        why = "; another one: --target COLUMN" if written.is_target_chosen else ""
        lines.append(f"It predicts the column {written.target!r}{why}.")
    for line in [*lines, *(f"data: {finding}" for finding in written.findings)]:
        console.print(Text(line), soft_wrap=True)
    console.print("\nWhat to do next", style="bold")
    for command, purpose in ((f"nightune check {study}", "see what a sweep would do"), (f"nightune tune {study}", "")):
        console.print(Text(f"  {command:<52} {purpose or 'train its trials'}"), soft_wrap=True)
