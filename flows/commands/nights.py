"""The commands of nights: `nightune serve`, `pause`, `resume` and `compare`."""

import json
import os
import shlex
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from nightune.flows.commands.options import AsJson, EngineChoice, StudyFile, report_errors
from nightune.flows.runtime.console import output, print_json, progress_shown, say
from nightune.flows.runtime.environment import store_root, tracking_uri
from nightune.flows.runtime.prefect_server import serving_server, use_running_server
from nightune.models.heavy_imports import lasting_imports
from nightune.settings import HOOK, WEBHOOK, read_settings
from nightune.tasks.trial.interrupts import interrupts_remembered


class Overlap(StrEnum):
    """The rule for a night that is due while the last one still runs."""

    SKIP = "skip"
    WAIT = "wait"


class Missed(StrEnum):
    """The rule for nights that were due while `serve` was not running: run none, or one for all."""

    SKIP = "skip"
    ONCE = "once"


def serve(  # noqa: PLR0913, PLR0917 - one argument an option
    studies: Annotated[list[Path], typer.Argument(metavar="STUDY...", help="Study files.")],
    cron: Annotated[str, typer.Option(help="Cron expression: minute hour day month weekday.")] = "0 1 * * *",
    timezone: Annotated[str, typer.Option(help="Time zone: an IANA name, such as Europe/Paris.")] = "UTC",
    on_overlap: Annotated[
        Overlap, typer.Option(help="If the last night still runs: skip the next, or wait.")
    ] = Overlap.SKIP,
    missed: Annotated[
        Missed, typer.Option(help="Nights missed while nothing served: skip all, or run one.")
    ] = Missed.SKIP,
    engine: Annotated[EngineChoice, typer.Option(help="Training engine.")] = EngineChoice.AUTO,
    pause: Annotated[bool, typer.Option("--pause", help="Start paused, until `nightune resume`.")] = False,
    webhook: Annotated[str, typer.Option(envvar=WEBHOOK, help="Address that receives a POST after each night.")] = "",
    hook: Annotated[str, typer.Option(help="Command to run after each night, split into words; no shell.")] = "",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the Prefect server that it starts.")] = 4200,
) -> None:
    """Run studies every night on this machine until Ctrl-C: sweep, confirmation, promotion, hooks."""
    with report_errors(), interrupts_remembered(), progress_shown():
        _set_hooks(webhook, hook)
        from nightune.flows.runtime.cron import ScheduleError, check_schedule, clock_change  # noqa: PLC0415
        from nightune.tasks.load_study import load_study, refuse_missing_sampler  # noqa: PLC0415
        from nightune.tasks.tracking.store.store import open_store  # noqa: PLC0415 - MLflow takes seconds to import

        try:
            check_schedule(cron, timezone)
        except ScheduleError as error:
            raise typer.BadParameter(str(error)) from error
        for study in studies:
            refuse_missing_sampler(load_study(study))  # a bad file too, before anything starts
        change = clock_change(cron, timezone, datetime.now(ZoneInfo(timezone)).replace(tzinfo=None))
        if change is not None:
            say(
                f"Warning: on {change:%d %B %Y} {timezone} changes its clocks at that hour: the night starts an hour "
                "late or runs twice. Choose another hour to avoid it."
            )
        open_store(store_root(), tracking_uri())  # report a store that cannot be used now, not at night
        say("Starting Prefect (this takes some seconds) …")
        with serving_server(port) as address:
            from nightune.flows.deployments import Service, serve_studies  # noqa: PLC0415 - Prefect takes seconds to import

            say(f"Nights: {cron} ({timezone}) · Prefect's pages: {address.removesuffix('/api')} · Ctrl-C stops")
            serve_studies(studies, Service(cron, timezone, on_overlap, missed, engine, pause))
            say("Stopped. If a night was running, it was cancelled, and the next one finishes its sweep.")


def pause(study: StudyFile) -> None:
    """Pause the nights of a served study; a running night continues."""
    _set_paused(study, is_paused=True)


def resume(study: StudyFile) -> None:
    """Resume the nights of a paused study."""
    _set_paused(study, is_paused=False)


def compare(
    study: StudyFile,
    sweeps: Annotated[
        list[str] | None, typer.Argument(metavar="[SWEEP SWEEP]", help="Two sweep IDs; default: the last two.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare two sweeps of a study: scores, verdicts, and what changed."""
    if sweeps and len(sweeps) != 2:
        raise typer.BadParameter("give two sweep IDs, or none", param_hint="SWEEP")
    with report_errors(creates_store=False), lasting_imports():
        from nightune.flows.commands.tables import print_nights  # noqa: PLC0415
        from nightune.tasks.compare_sweeps import compare_sweeps  # noqa: PLC0415
        from nightune.tasks.load_study import load_study  # noqa: PLC0415
        from nightune.tasks.tracking.store.store import open_existing_store  # noqa: PLC0415 - MLflow takes seconds to import

        difference = compare_sweeps(open_existing_store(store_root(), tracking_uri()), load_study(study).name, sweeps)
    print_nights(output(as_json), difference)
    if as_json:
        print_json(difference.as_json())


def _set_hooks(webhook: str, hook: str) -> None:
    """Pass the hooks to the nights' processes by the environment; SettingsError if they cannot be used."""
    if webhook:
        os.environ[WEBHOOK] = webhook
    if hook:
        try:
            os.environ[HOOK] = json.dumps(shlex.split(hook))
        except ValueError as error:
            raise typer.BadParameter(f"cannot be split into words: {error}", param_hint="--hook") from error
    read_settings()


def _set_paused(study: Path, is_paused: bool) -> None:
    with report_errors(creates_store=False, asks_store=False):
        from nightune.tasks.load_study import load_study  # noqa: PLC0415

        name = load_study(study).name
        use_running_server()
        from nightune.flows.deployments import set_paused  # noqa: PLC0415 - Prefect takes seconds to import

        set_paused(name, is_paused)
    output().print(f"{name}: {'paused' if is_paused else 'resumed'}")
