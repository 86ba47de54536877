"""The command that lists the sweeps of a store: `nightune list`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from nightune.flows.commands.cells import plain_table
from nightune.flows.commands.options import AsJson, report_errors
from nightune.flows.runtime.console import output, print_json, print_table, say
from nightune.flows.runtime.environment import store_root, tracking_uri
from nightune.models.heavy_imports import lasting_imports
from nightune.vocabulary import VALIDATION_PREFIX

if TYPE_CHECKING:
    from nightune.tasks.tracking.trials.results import ListedSweep


def list_sweeps(as_json: AsJson = False) -> None:
    """List the studies and sweeps of the store, newest first, with status, trials, best objective and verdict."""
    with report_errors(creates_store=False), lasting_imports():
        from nightune.tasks.tracking.store.store import open_existing_store  # noqa: PLC0415 - MLflow takes seconds to import
        from nightune.tasks.tracking.trials.results import listed_sweeps  # noqa: PLC0415

        sweeps = listed_sweeps(open_existing_store(store_root(), tracking_uri()))
    if sweeps:
        print_sweeps(output(as_json), sweeps)
    else:
        say("The store has no sweep; `nightune tune STUDY` starts one.")
    if as_json:
        print_json({"sweeps": [each.as_json() for each in sweeps]})


def print_sweeps(console: Console, sweeps: "Sequence[ListedSweep]") -> None:
    """Print a line for each sweep; its status is the verdict once it is judged."""
    table = plain_table()
    for name in ("sweep", "started", "status", "trials", "metric", "best", "confirmed"):
        table.add_column(name, justify="right" if name in ("trials", "best", "confirmed") else "left", no_wrap=True)
    for each in sweeps:
        sweep, started = each.sweep, f"{datetime.fromtimestamp(each.started, UTC):%Y-%m-%d}"
        numbers = [
            "–" if number is None else f"{number:.4g}" for number in (each.best_objective, each.confirmed_objective)
        ]
        trials, metric = f"{each.finished}/{sweep.planned_trials}", sweep.metric.removeprefix(VALIDATION_PREFIX)
        table.add_row(*map(Text, [sweep.id, started, sweep.verdict or str(sweep.status), trials, metric, *numbers]))
    print_table(console, table)
