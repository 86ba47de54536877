"""The commands of the registry: `nightune promote`, `rollback` and `models`."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nightune.flows.commands.options import AsJson, StudyFile, report_errors
from nightune.flows.commands.started_flow import run_supervised
from nightune.flows.runtime.console import output, print_json, progress_shown, say
from nightune.flows.runtime.environment import store_root, tracking_uri
from nightune.flows.runtime.exit_codes import REFUSED
from nightune.flows.runtime.morning_page import morning_page
from nightune.models.heavy_imports import lasting_imports
from nightune.tasks.trial.interrupts import interrupts_remembered

if TYPE_CHECKING:
    from nightune.tasks.promote_model import Promotion


def promote(
    study: StudyFile,
    sweep: Annotated[str | None, typer.Option(help="Sweep ID; default: the last complete sweep.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Compute the verdict without registering anything.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Promote even if the gate refuses; requires --because.")
    ] = False,
    because: Annotated[str, typer.Option(help="Reason, stored with the version.")] = "",
    as_json: AsJson = False,
) -> None:
    """Confirm a sweep's best trials; promote the winner if it is significantly better. Exit code 4: refused."""
    if force and not because.strip():
        raise typer.BadParameter("a forced promotion requires a reason", param_hint="--because")
    with report_errors(creates_store=False), interrupts_remembered(), progress_shown():
        promotion = run_supervised(study, partial(_promotion, study, sweep, dry_run, force, because))
        from nightune.tasks.reporting.read_report import read_report  # noqa: PLC0415
        from nightune.tasks.tracking.store.store import open_existing_store, store_address  # noqa: PLC0415
        from nightune.tasks.tracking.sweeps.find_sweeps import find_sweep  # noqa: PLC0415

        judged, store = promotion.verdict.candidate, open_existing_store(store_root(), tracking_uri())
        confirmed = read_report(store, judged.model, find_sweep(store, judged.model, judged.sweep))
        page = None if dry_run else morning_page(study, judged.model, judged.sweep)
    from nightune.flows.commands.next_steps import print_after_promotion  # noqa: PLC0415
    from nightune.flows.commands.tables import print_confirmation, print_promotion  # noqa: PLC0415

    console = output(as_json)
    print_confirmation(console, confirmed)
    print_promotion(console, promotion)
    print_after_promotion(console, promotion, study, store_address(store_root(), tracking_uri()), page)
    if as_json:
        print_json(promotion.summary())
    if not promotion.verdict.is_promoted:
        raise typer.Exit(REFUSED)


def _promotion(study: Path, sweep: str | None, dry_run: bool, force: bool, because: str) -> "Callable[[], Promotion]":
    from nightune.flows.promote import promote as promote_flow  # noqa: PLC0415 - Prefect takes seconds to import

    return partial(promote_flow, study, sweep=sweep, dry_run=dry_run, force=force, because=because)


def rollback(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Registered model: the name of its study.")],
    because: Annotated[str, typer.Option(help="Reason, stored with both versions.")],
) -> None:
    """Restore the previous champion."""
    if not because.strip():
        raise typer.BadParameter("a reason is required", param_hint="--because")
    with report_errors(creates_store=False):
        from nightune.tasks.tracking.registry.registry import roll_back  # noqa: PLC0415
        from nightune.tasks.tracking.store.store import open_existing_store  # noqa: PLC0415 - MLflow takes seconds to import

        left, taken = roll_back(open_existing_store(store_root(), tracking_uri()), model, because)
    output().print(f"{model}: version {taken.number} is champion again, after version {left.number}")


def models(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="A registered model; default: all.")] = None,
    as_json: AsJson = False,
) -> None:
    """List registered versions with their aliases and verdicts."""
    with report_errors(creates_store=False), lasting_imports():
        from dataclasses import asdict  # noqa: PLC0415

        from nightune.flows.commands.tables import print_versions  # noqa: PLC0415
        from nightune.tasks.tracking.registry import registry  # noqa: PLC0415
        from nightune.tasks.tracking.store.store import open_existing_store  # noqa: PLC0415 - MLflow takes seconds to import

        store = open_existing_store(store_root(), tracking_uri())
        versions = registry.known_versions(store, model) if model is not None else registry.all_versions(store)
    if versions:
        print_versions(output(as_json), versions)
    else:
        say("No versions are registered; `nightune promote STUDY` registers one.")
    if as_json:
        print_json({"versions": [asdict(version) for version in versions]})
