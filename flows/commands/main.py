"""The command line. Heavy imports wait until a command needs them."""

import gc
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from nightune.flows.commands.exit_code_help import exit_codes
from nightune.flows.commands.first_study import write_first_study
from nightune.flows.commands.listing import list_sweeps
from nightune.flows.commands.nights import compare, pause, resume, serve
from nightune.flows.commands.options import (
    AsJson,
    EngineChoice,
    StudyFile,
    report_errors,
    report_fault,
)
from nightune.flows.commands.plain_help import PlainCommand, PlainGroup
from nightune.flows.commands.predict import predict
from nightune.flows.commands.registry import models, promote, rollback
from nightune.flows.commands.report import report
from nightune.flows.commands.simulate import simulate
from nightune.flows.commands.store import doctor, prune
from nightune.flows.commands.versions import print_version
from nightune.flows.runtime.console import ignore_unusable_width, output, print_json, progress_shown, say
from nightune.flows.runtime.environment import store_root, tracking_uri
from nightune.flows.runtime.exit_codes import NO_RESULT
from nightune.flows.runtime.morning_page import morning_page
from nightune.flows.runtime.prefect_server import prefect_server
from nightune.flows.runtime.supervisor import process_of_its_own, supervised
from nightune.flows.runtime.text_streams import outlive_reader, show_every_text
from nightune.models.heavy_imports import lasting_imports
from nightune.settings import read_settings
from nightune.tasks.trial.interrupts import interrupts_remembered

if TYPE_CHECKING:
    from nightune.tasks.draw_report import DrawnReport
    from nightune.tasks.reporting.sweep_report import SweepReport
    from nightune.tuning.study.study import Study
    from nightune.tuning.trial import TrialResult

app = typer.Typer(
    cls=PlainGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


app.command("init", cls=PlainCommand, epilog=exit_codes("init"))(write_first_study)


@app.command(cls=PlainCommand, epilog=exit_codes("tune"))
def tune(  # noqa: PLR0913, PLR0917 - one argument per option
    study: StudyFile,
    trials: Annotated[int | None, typer.Option(min=1, help="Override the study's number of trials.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Override the study's epochs per trial.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Override the study's seed.")] = None,
    hours: Annotated[float | None, typer.Option(help="End the search after so many hours.")] = None,
    until: Annotated[str | None, typer.Option(metavar="HH:MM", help="End the search at this time of day.")] = None,
    engine: Annotated[EngineChoice, typer.Option(help="Training engine; auto logs its choice.")] = EngineChoice.AUTO,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start a new sweep with new points.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try failed trials again though code and packages are the same.")
    ] = False,
    workers: Annotated[
        int,
        typer.Option(min=1, max=256, help="Processes that train side by side on this machine; needs nightune[dask]."),
    ] = 1,
    as_json: AsJson = False,
) -> None:
    """Train the study's trials. Run again to resume an interrupted sweep or to show a finished one."""
    if fresh and retry_failed:
        raise typer.BadParameter("a new sweep has no failed trials; leave out --fresh", param_hint="--retry-failed")
    with report_errors(), interrupts_remembered(), progress_shown():
        from nightune.tasks.load_study import load_study  # noqa: PLC0415

        given: dict[str, Any] = {"trials": trials, "epochs": epochs, "seed": seed, "hours": hours, "until": until}
        supervised(partial(_study_for, workers, study, **given))
        say("Starting Prefect (this takes some seconds) …")
        with prefect_server() as wait_until_it_answers:
            with lasting_imports():
                from nightune.flows.runtime.charts_ahead import charts_bundled_beside  # noqa: PLC0415
                from nightune.flows.runtime.flow_runs import (  # noqa: PLC0415 - Prefect takes seconds to import
                    ClosingBeside,
                    owned_flow_runs,
                )
                from nightune.flows.runtime.while_prefect_starts import open_store_and_keras  # noqa: PLC0415
                from nightune.flows.tune import tune as tune_flow  # noqa: PLC0415

                closing = ClosingBeside(partial(wait_until_it_answers, quietly=True))
                store = open_store_and_keras(load_study(study, **given), fresh)
            wait_until_it_answers()
            with owned_flow_runs(closing), charts_bundled_beside(store.compiled):
                options: dict[str, Any] = {"engine": str(engine), "fresh": fresh, "retry_failed": retry_failed}
                report = tune_flow(study, **given, **options, workers=workers)
    _show_results(report, as_json)  # drawing the report takes seconds
    with report_errors(creates_store=False, asks_store=False), interrupts_remembered(), progress_shown():
        page = morning_page(study, report.study, report.sweep.id)
    _show_next_steps(report, study, as_json, page)
    if report.best is None:
        raise typer.Exit(NO_RESULT)


@app.command(cls=PlainCommand, epilog=exit_codes("check"))
def check(
    study: StudyFile,
    no_build: Annotated[bool, typer.Option("--no-build", help="Build no model: quick, without Keras.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check the study, its data and its models without training, and print what a sweep would do."""
    with report_errors(creates_store=False, asks_store=False):
        with lasting_imports():
            from nightune.flows.commands.check_tables import print_check  # noqa: PLC0415
            from nightune.tasks.check_study import check_study  # noqa: PLC0415 - scikit-learn and pandas
            from nightune.tasks.load_study import load_study  # noqa: PLC0415
            from nightune.tasks.tracking.store.autologging import WAS_OFF, was_autologging_ignored  # noqa: PLC0415

        before_building = partial(say, "Building the study's models (importing Keras takes some seconds) …")
        report = check_study(load_study(study), None if no_build else before_building)
        if was_autologging_ignored():
            say(WAS_OFF)
    if as_json:
        print_json(report.as_json())
    else:
        print_check(output(), report)


@app.command(cls=PlainCommand, epilog=exit_codes("probe"))
def probe(
    study: StudyFile,
    updates: Annotated[int, typer.Option(min=100, max=10_000, help="Updates per test.")] = 200,
    seed: Annotated[int | None, typer.Option(min=0, help="Override the study's seed.")] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the chart to this .svg or .png file.")
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a copy of the study with the suggested ranges, in the same folder."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Suggest a range of learning rates for each optimizer of the study: run a range test of a few seconds for each."""
    with report_errors(), interrupts_remembered(), progress_shown():
        from nightune.tasks.load_study import load_study  # noqa: PLC0415
        from nightune.tasks.output_files import refuse_bad_copy, refuse_bad_output  # noqa: PLC0415
        from nightune.tasks.reporting.night.stills import SUFFIXES  # noqa: PLC0415
        from nightune.tasks.reporting.probe_report import write_chart, write_study_copy  # noqa: PLC0415

        load_study(study, seed=seed)  # refuse a bad file before Prefect starts
        if write is not None:
            refuse_bad_copy(study, write)
        if plot is not None:
            refuse_bad_output(plot, SUFFIXES, "--plot")
        say("Starting Prefect (this takes some seconds) …")
        with prefect_server() as wait_until_it_answers:
            with lasting_imports():
                from nightune.flows.commands.tables import print_probe  # noqa: PLC0415
                from nightune.flows.probe import probe as probe_flow  # noqa: PLC0415 - Prefect takes seconds to import
                from nightune.flows.runtime.flow_runs import owned_flow_runs  # noqa: PLC0415

            wait_until_it_answers()
            with owned_flow_runs():
                probed = probe_flow(study, seed=seed, updates=updates)
        print_probe(output(as_json), probed)
        if write is not None:
            write_study_copy(probed, write, load_study)
        if as_json:
            print_json(probed.as_json())
        if plot is not None:  # the last: a picture may need more than this process may have
            write_chart(probed, plot)
    if probed.parameter is None:
        raise typer.Exit(NO_RESULT)


@app.command(cls=PlainCommand, epilog=exit_codes("show"))
def show(
    study: StudyFile,
    sweep: Annotated[str | None, typer.Option(help="Sweep ID, such as digits-0; default: the last sweep.")] = None,
    trial: Annotated[int | None, typer.Option(min=0, help="Also print this trial in full.")] = None,
    write: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write a study, in the same folder, that trains this trial again with new seeds; default: the winner.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the leaderboard of a sweep."""
    with report_errors(creates_store=False), lasting_imports():
        from nightune.flows.commands.repeats import write_trial  # noqa: PLC0415
        from nightune.tasks.load_study import load_study  # noqa: PLC0415
        from nightune.tasks.reporting.read_report import read_report  # noqa: PLC0415
        from nightune.tasks.tracking.store.store import open_existing_store  # noqa: PLC0415 - MLflow takes seconds to import
        from nightune.tasks.tracking.sweeps.find_sweeps import find_sweep  # noqa: PLC0415

        name = load_study(study).name
        store = open_existing_store(store_root(), tracking_uri())
        report = read_report(store, name, find_sweep(store, name, sweep))
        chosen = None if trial is None else report.trial(trial)
        if write is not None:
            write_trial(store, report, chosen, study, write)
    _show_results(report, as_json, chosen)
    _show_next_steps(report, study, as_json, trial=chosen)


app.command("list", cls=PlainCommand, epilog=exit_codes("list"))(list_sweeps)


@app.command(cls=PlainCommand, epilog=exit_codes("ui"))
def ui(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 5000,
    host: Annotated[
        str, typer.Option(help="Address to serve on; all except loopback require a password.")
    ] = "127.0.0.1",
    allowed_host: Annotated[
        list[str] | None, typer.Option(help="Host name by which other machines may reach it.")
    ] = None,
) -> None:
    """Serve MLflow's pages of the store until Ctrl-C, on this machine only unless --host is set."""
    with report_errors(creates_store=False), interrupts_remembered():
        from nightune.tasks.tracking.store.store import open_existing_store  # noqa: PLC0415 - MLflow takes seconds to import
        from nightune.tasks.tracking.ui_server import Access, serve_ui  # noqa: PLC0415

        access = Access(host, port, tuple(allowed_host or ()))
        serve_ui(open_existing_store(store_root(), tracking_uri()), access, announce=say)


for command in (report, promote, rollback, models, predict, serve, pause, resume, compare, simulate, prune, doctor):
    app.command(cls=PlainCommand, epilog=exit_codes(command.__name__))(command)


@app.callback()
def nightune(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=print_version, help="Print the version and exit.")
    ] = False,
) -> None:
    """Tune Keras models overnight: one study file in, every trial in MLflow, a leaderboard out."""


def main() -> NoReturn:
    """Run the command line."""
    ignore_unusable_width()
    try:
        with process_of_its_own(), outlive_reader():
            show_every_text()
            app()
    except Exception as error:  # outside of a command's own report, as while it prints
        raise SystemExit(report_fault(error)) from None
    finally:
        gc.freeze()  # otherwise the last collection takes two seconds or more: it visits all imported objects
    raise AssertionError("typer raises SystemExit")


def _study_for(workers: int, file: Path, **overrides: Any) -> "Study":
    """Read the study, and refuse it if its method lacks a package or that many workers cannot train it."""
    from nightune.tasks.load_study import load_study, refuse_missing_sampler  # noqa: PLC0415
    from nightune.tasks.workers.requirements import refuse_unusable_workers  # noqa: PLC0415

    study = load_study(file, **overrides)
    refuse_missing_sampler(study)
    refuse_unusable_workers(study, workers, read_settings().dask)
    return study


def _show_results(report: "SweepReport", as_json: bool, trial: "TrialResult | None" = None) -> None:
    from nightune.flows.commands.leaderboard_table import print_leaderboard, print_trial  # noqa: PLC0415
    from nightune.flows.commands.tables import print_beliefs, print_confirmation, print_importance  # noqa: PLC0415

    console = output(as_json)
    print_leaderboard(console, report)
    if trial is not None and trial is not report.winner:  # which the leaderboard prints
        print_trial(console, report, trial)
    print_confirmation(console, report)
    print_importance(console, report)
    print_beliefs(console, report)


def _show_next_steps(
    report: "SweepReport",
    study_file: Path,
    as_json: bool,
    page: "DrawnReport | None" = None,
    trial: "TrialResult | None" = None,
) -> None:
    from nightune.flows.commands.next_steps import print_next_steps  # noqa: PLC0415
    from nightune.tasks.tracking.store.store import store_address  # noqa: PLC0415

    print_next_steps(output(as_json), report, study_file, store_address(store_root(), tracking_uri()), page)
    if as_json:
        print_json(report.summary(trial))
