"""The commands of maintenance: `nightune prune` and `nightune doctor`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nightune.flows.commands.options import AsJson, StudyFile, report_errors
from nightune.flows.runtime.console import output, print_json, print_table, progress_shown
from nightune.flows.runtime.environment import store_root, tracking_uri
from nightune.flows.runtime.exit_codes import NO_RESULT

if TYPE_CHECKING:
    from nightune.tasks.doctor import Finding


def prune(
    study: StudyFile,
    keep: Annotated[int, typer.Option(min=1, help="Number of best trials per sweep that keep their checkpoint.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be deleted, and delete nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Delete the checkpoints of all but the best trials; params, curves and results are kept."""
    with report_errors(creates_store=False), progress_shown():
        from nightune.tasks.load_study import load_study  # noqa: PLC0415
        from nightune.tasks.tracking.store.lock import study_lock  # noqa: PLC0415 - MLflow takes seconds to import
        from nightune.tasks.tracking.store.store import open_existing_store  # noqa: PLC0415 - MLflow takes seconds to import
        from nightune.tasks.tracking.trials.prune import prune as prune_store  # noqa: PLC0415

        name = load_study(study).name
        store = open_existing_store(store_root(), tracking_uri())
        with study_lock(store, name):
            pruned = prune_store(store, name, keep, dry_run)
    size = f"{pruned.bytes / 2**20:.1f} MiB"
    done = "would be deleted" if dry_run else "deleted"
    if as_json:
        print_json({"deleted": pruned.trials, "bytes": pruned.bytes, "kept": pruned.kept, "is_dry_run": dry_run})
    else:
        output().print(f"{pruned.trials} checkpoints {done} ({size}); {pruned.kept} trials keep theirs.")


def doctor(
    repair: Annotated[bool, typer.Option("--repair", help="Repair what can be repaired.")] = False,
    as_json: AsJson = False,
) -> None:
    """Examine the store: database, disk, leftovers of dead processes, lost files, devices and versions."""
    with report_errors(creates_store=False), progress_shown():
        from nightune.tasks.doctor import devices, examine  # noqa: PLC0415
        from nightune.tasks.doctor import repair as repair_findings  # noqa: PLC0415
        from nightune.tasks.tracking.store.store import open_existing_store  # noqa: PLC0415 - MLflow takes seconds to import

        store = open_existing_store(store_root(), tracking_uri())
        findings = [*examine(store), devices()]
        left = repair_findings(findings) if repair else [finding for finding in findings if not finding.is_well]
    if as_json:
        rows = [{"subject": f.subject, "is_well": f.is_well, "text": f.text, "remedy": f.remedy} for f in findings]
        print_json({"findings": rows, "problems": len(left)})
    else:
        _print_findings(output(), findings, is_repaired=repair)
    if left:
        raise typer.Exit(NO_RESULT)


def _print_findings(console: Console, findings: "Sequence[Finding]", is_repaired: bool) -> None:
    table = Table(header_style="bold")
    for name in ("", "subject", "finding", "remedy"):
        table.add_column(name, overflow="fold")
    for finding in findings:
        is_fixed = is_repaired and finding.repair is not None
        mark = "ok" if finding.is_well else "repaired" if is_fixed else "!"
        table.add_row(mark, Text(finding.subject), Text(finding.text), Text(finding.remedy))
    print_table(console, table)
    if not is_repaired and any(finding.repair for finding in findings):
        console.print("Run `nightune doctor --repair` to repair what can be repaired.")
