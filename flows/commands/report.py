"""The command that draws the report of a sweep: `nightune report`."""

import webbrowser
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from nightune.flows.commands.options import AsJson, StudyFile, report_errors
from nightune.flows.commands.started_flow import run_supervised
from nightune.flows.runtime.console import output as console_of
from nightune.flows.runtime.console import print_json, progress_shown, say
from nightune.flows.runtime.environment import store_root, tracking_uri
from nightune.models.heavy_imports import lasting_imports
from nightune.tasks.trial.interrupts import interrupts_remembered

if TYPE_CHECKING:
    from nightune.tasks.draw_report import DrawnReport


BEFORE_BUILDING = partial(say, "Building the models of the next study (importing Keras takes some seconds) …")


def report(
    study: StudyFile,
    sweep: Annotated[str | None, typer.Option(help="Sweep ID, such as digits-0; default: the last sweep.")] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the page to this file (.html).")
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the study with the changes to make next, in the same folder (.toml)."),
    ] = None,
    train_ablation: Annotated[
        bool,
        typer.Option(
            "--train-ablation", help="First train the path from the study's default to the winner, with fresh seeds."
        ),
    ] = False,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    as_json: AsJson = False,
) -> None:
    """Draw the report of a sweep, complete or not, as one page for a browser: what won, by how much, how sure."""
    if train_ablation:
        _train_ablation(study, sweep, output, write)
    with report_errors(creates_store=False), lasting_imports():
        from nightune.tasks.draw_report import Asked, draw_report  # noqa: PLC0415 - MLflow takes seconds to import
        from nightune.tasks.load_study import load_study  # noqa: PLC0415
        from nightune.tasks.tracking.store.store import open_existing_store  # noqa: PLC0415

        name = load_study(study).name
        _refuse_bad_files(study, output, write)
        store = open_existing_store(store_root(), tracking_uri())
        drawn = draw_report(store, name, study, Asked(sweep, output, write, BEFORE_BUILDING))
    if as_json:
        print_json(drawn.as_json())
    else:
        _print_report(console_of(), drawn, write)
    if open_page:
        _open(drawn)


def _refuse_bad_files(study: Path, output: Path | None, write: Path | None) -> None:
    """Refuse files that cannot be written, before the sweep is read."""
    from nightune.tasks.output_files import refuse_bad_copy, refuse_bad_output  # noqa: PLC0415 - pydantic takes a moment

    if output is not None:
        refuse_bad_output(output, (".html",))
    if write is not None:
        refuse_bad_copy(study, write)


def _train_ablation(study: Path, sweep: str | None, output: Path | None, write: Path | None) -> None:
    with report_errors(creates_store=False), interrupts_remembered(), progress_shown():
        _refuse_bad_files(study, output, write)
        trained = run_supervised(study, partial(_ablation, study, sweep))
    say(f"{trained} trainings of the ablation path ended; those of earlier calls are kept.")


def _ablation(study: Path, sweep: str | None) -> Callable[[], int]:
    from nightune.flows.ablate import ablate  # noqa: PLC0415 - Prefect takes seconds to import

    return partial(ablate, study, sweep=sweep)


def _open(drawn: "DrawnReport") -> None:
    """Open the page in a browser, or say why not."""
    if drawn.file is None:
        say("A server keeps the page: write it to a file with --output FILE, and open that.")
    elif not webbrowser.open(drawn.file.resolve().as_uri()):
        say(f"No browser could be started here; open {drawn.file}.")


def _print_report(console: Console, drawn: "DrawnReport", next_study: Path | None) -> None:
    console.print(Text(drawn.headline, style="bold"), soft_wrap=True)
    for each in drawn.advice:
        console.print(Text(f"  next   {each.step.title}"), soft_wrap=True)
    if next_study is not None:
        titles = "; ".join(each.step.title for each in drawn.written)
        console.print(Text(f"{next_study} is the study with these changes, and its name: {titles}"), soft_wrap=True)
    if drawn.file is not None:
        console.print(Text(f"Open {drawn.file} in a browser ({drawn.size / 1e6:.1f} MB)."), soft_wrap=True)
    kept = f"It is the artifact report/index.html of the sweep's run: {drawn.address}"
    console.print(Text(kept), soft_wrap=True)
    if drawn.file is None:
        console.print("Write it to a file of this machine with --output FILE.")
