"""The commands of the registry: `nightune promote`, `rollback` and `models`."""

from functools import partial
from typing import Annotated

import typer
from rich.console import Console

from nightune.flows.commands.options import AsJson, StudyFile, errors_told, sigterm_as_interrupt
from nightune.flows.runtime.console import output, print_json, progress_shown, say
from nightune.flows.runtime.environment import store_root, tracking_uri
from nightune.flows.runtime.prefect_server import prefect_server
from nightune.flows.runtime.supervisor import supervised
from nightune.models.heavy_imports import lasting_imports

REFUSED = 4


def promote(
    study: StudyFile,
    sweep: Annotated[str | None, typer.Option(help="A sweep's id; the last complete one by default.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Judge, but register nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Promote against the gate; needs --because.")] = False,
    because: Annotated[str, typer.Option(help="The reason, kept with the version.")] = "",
    as_json: AsJson = False,
) -> None:
    """Confirm a sweep's best trials, and make the winner champion if it is surely better. Exit code 4: refused."""
    if force and not because.strip():
        raise typer.BadParameter("a forced promotion needs a reason", param_hint="--because")
    with errors_told(), sigterm_as_interrupt(), progress_shown():
        from nightune.tasks.load_study import load_study  # noqa: PLC0415

        supervised(partial(load_study, study))
        say("Starting Prefect (this takes some seconds) …")
        with prefect_server() as wait_until_it_answers:
            with lasting_imports():
                from nightune.flows.promote import promote as promote_flow  # noqa: PLC0415 - Prefect takes seconds to import
                from nightune.flows.runtime.flow_runs import owned_flow_runs  # noqa: PLC0415

            wait_until_it_answers()
            with owned_flow_runs():
                promotion = promote_flow(study, sweep=sweep, dry_run=dry_run, force=force, because=because)
    from nightune.flows.commands.tables import print_promotion  # noqa: PLC0415

    print_promotion(Console(stderr=True) if as_json else output(), promotion)
    if as_json:
        print_json(promotion.summary())
    if not promotion.verdict.is_promoted:
        raise typer.Exit(REFUSED)


def rollback(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A registered model: a study's name.")],
    because: Annotated[str, typer.Option(help="The reason, kept with both versions.")],
) -> None:
    """Make the version champion that was it before."""
    if not because.strip():
        raise typer.BadParameter("a reason is needed", param_hint="--because")
    with errors_told():
        from nightune.tasks.tracking.registry.registry import roll_back  # noqa: PLC0415
        from nightune.tasks.tracking.store.store import open_store  # noqa: PLC0415 - MLflow takes seconds to import

        left, taken = roll_back(open_store(store_root(), tracking_uri()), model, because)
    output().print(f"{model}: version {taken.number} is champion again, after version {left.number}")


def models(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="One model; all by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """List registered versions with their aliases and verdicts."""
    with errors_told():
        from dataclasses import asdict  # noqa: PLC0415

        from nightune.flows.commands.tables import print_versions  # noqa: PLC0415
        from nightune.tasks.tracking.registry import registry  # noqa: PLC0415
        from nightune.tasks.tracking.store.store import open_store  # noqa: PLC0415 - MLflow takes seconds to import

        store = open_store(store_root(), tracking_uri())
        names = registry.models(store) if model is None else [model]
        versions = [version for name in names for version in registry.versions(store, name)]
    print_versions(Console(stderr=True) if as_json else output(), versions)
    if as_json:
        print_json({"versions": [asdict(version) for version in versions]})
