"""The command line. Heavy imports wait until a command needs them."""

import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console

from flows.command import AsJson, StudyFile, errors_told, output, print_json, say
from flows.environment import store_root, tracking_uri
from flows.prefect_server import prefect_server
from flows.upkeep import doctor, prune

if TYPE_CHECKING:
    from tasks.write_report import SweepReport

NO_TRIAL_COMPLETED = 1

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Tune Keras models overnight: one study file in, every trial in MLflow, a leaderboard out.",
)


class EngineChoice(StrEnum):
    """Who trains."""

    AUTO = "auto"
    COMPILED = "compiled"
    FIT = "fit"


@app.command()
def tune(
    study: StudyFile,
    trials: Annotated[int | None, typer.Option(min=1, help="Instead of the study's number of trials.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Instead of the study's epochs a trial.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the study's seed.")] = None,
    engine: Annotated[EngineChoice, typer.Option(help="Who trains; auto says what it chose.")] = EngineChoice.AUTO,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start the next sweep, with new points.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train the study's trials. The same command again goes on after a stop, and shows a complete sweep."""
    with errors_told(), _sigterm_as_interrupt(), _progress():
        from tasks.load_study import load_study  # noqa: PLC0415

        name = load_study(study, trials=trials, epochs=epochs, seed=seed).name  # a bad file is told at once
        _supervised(name)
        say("Starting Prefect (this takes some seconds) …")
        with prefect_server() as wait_until_it_answers:
            from prefect import tags  # noqa: PLC0415 - Prefect takes seconds to import

            from flows.reconcile import close_dead_flow_runs, owner_tag  # noqa: PLC0415
            from flows.tune import tune as tune_flow  # noqa: PLC0415
            from tasks.tracking.store import open_store  # noqa: PLC0415 - and so does MLflow

            open_store(store_root(), tracking_uri())
            wait_until_it_answers()
            close_dead_flow_runs()
            with tags(owner_tag()):
                report = tune_flow(study, trials=trials, epochs=epochs, seed=seed, engine=str(engine), fresh=fresh)
    _show_report(report, study, as_json)
    if report.best is None:
        raise typer.Exit(NO_TRIAL_COMPLETED)


@app.command()
def check(study: StudyFile, as_json: AsJson = False) -> None:
    """Read the study and its data, train nothing, and print what a sweep would do."""
    with errors_told():
        from flows.terminal import print_check  # noqa: PLC0415
        from tasks.check_study import check_study  # noqa: PLC0415 - scikit-learn and pandas
        from tasks.load_study import load_study  # noqa: PLC0415

        report = check_study(load_study(study))
    if as_json:
        print_json(report.as_json())
    else:
        print_check(output(), report)


@app.command()
def show(
    study: StudyFile,
    sweep: Annotated[str | None, typer.Option(help="A sweep's id, such as digits-0; the last one by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print the leaderboard of a sweep."""
    with errors_told():
        from tasks.load_study import load_study  # noqa: PLC0415
        from tasks.tracking.store import open_store  # noqa: PLC0415 - MLflow takes seconds to import
        from tasks.tracking.sweeps import find_sweep  # noqa: PLC0415
        from tasks.write_report import read_report  # noqa: PLC0415

        name = load_study(study).name
        store = open_store(store_root(), tracking_uri())
        report = read_report(store, name, find_sweep(store, name, sweep))
    _show_report(report, study, as_json)


@app.command()
def ui(
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port on this machine.")] = 5000,
    host: Annotated[str, typer.Option(help="Where to serve; any but loopback needs a password.")] = "127.0.0.1",
    allowed_host: Annotated[list[str] | None, typer.Option(help="A name that other machines may ask for.")] = None,
) -> None:
    """Open the MLflow pages of the store until Ctrl-C; on this machine only unless --host says otherwise."""
    with errors_told():
        from tasks.tracking.server import Access, serve_ui  # noqa: PLC0415
        from tasks.tracking.store import open_store  # noqa: PLC0415 - MLflow takes seconds to import

        access = Access(host, port, tuple(allowed_host or ()))
        serve_ui(open_store(store_root(), tracking_uri()), access, announce=say)


app.command()(prune)
app.command()(doctor)


def main() -> NoReturn:
    """Run the command line."""
    app()
    raise AssertionError("a command line ends by itself")


def _show_report(report: "SweepReport", study_file: Path, as_json: bool) -> None:
    from flows.terminal import print_leaderboard, print_next_steps  # noqa: PLC0415

    console = Console(stderr=True) if as_json else output()
    print_leaderboard(console, report)
    print_next_steps(console, report, study_file)
    if as_json:
        print_json(report.summary())


def _supervised(study_name: str) -> None:
    """Go on in a child process, which may die in a trial and is then started again; only the child returns."""
    from flows.supervision import follow_supervisor, supervise  # noqa: PLC0415
    from tasks.attempts import attempts_of, is_supervised  # noqa: PLC0415

    if is_supervised():
        follow_supervisor()
        return
    command = [sys.executable, *sys.orig_argv[1:]]
    raise typer.Exit(supervise(command, attempts_of(store_root(), study_name), say))


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C: schedulers send it, and jobs started with & do not get SIGINT."""

    def interrupt(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _progress() -> Iterator[None]:
    from flows.progress import SweepProgress  # noqa: PLC0415

    handler = SweepProgress(Console(stderr=True))
    logger = logging.getLogger("nightune")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()
