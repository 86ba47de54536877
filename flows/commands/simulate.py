"""The command that replays search methods on finished sweeps: `nightune simulate`."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from nightune.flows.commands.cells import plain_table
from nightune.flows.commands.options import AsJson, report_errors
from nightune.flows.runtime.console import output, print_json, print_table
from nightune.flows.runtime.environment import store_root, tracking_uri
from nightune.models.heavy_imports import lasting_imports
from nightune.vocabulary import VALIDATION_PREFIX

if TYPE_CHECKING:
    from nightune.tasks.simulate_search import Replay
    from nightune.tuning.recorded_search import Mark

COLUMNS = ("method", "epochs", "regret", "95% interval", "seconds")
DEFAULT_METHODS = "random,successive_halving,gp,gp_rungs,auto"


def simulate(
    sweeps: Annotated[
        list[str], typer.Argument(metavar="STUDY_OR_SWEEP...", help="Study files, or IDs of sweeps, such as digits-0.")
    ],
    methods: Annotated[str, typer.Option(help="Search methods, separated by commas.")] = DEFAULT_METHODS,
    epochs: Annotated[
        str, typer.Option(metavar="N,N", help="Epochs of a search at which to compare; default: by what is recorded.")
    ] = "",
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Searches of each method.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Replay search methods on the trials of finished sweeps: which would have found the best, and when."""
    marks = _numbers(epochs)
    with report_errors(creates_store=False), lasting_imports():
        from nightune.tasks.simulate_search import read_asked, simulate_search  # noqa: PLC0415
        from nightune.tasks.tracking.store.store import open_existing_store  # noqa: PLC0415 - MLflow takes seconds to import

        asked = list(map(read_asked, sweeps))
        store = open_existing_store(store_root(), tracking_uri())
        replays = simulate_search(store, asked, [each.strip() for each in methods.split(",")], marks, seeds)
    for each in replays:
        print_replay(output(as_json), each)
    if as_json:
        print_json({"replays": [each.as_json() for each in replays]})


def print_replay(console: Console, replay: "Replay") -> None:
    """Print the regret of each method after numbers of epochs, with the seconds, and what the trials cannot tell."""
    metric = replay.metric.removeprefix(VALIDATION_PREFIX)
    title = f"{', '.join(replay.sweeps)} · {replay.trials} recorded trials · best {metric} {replay.best:.4g}"
    console.print(Text(title, style="bold"), soft_wrap=True)
    table = plain_table()
    for name in COLUMNS:
        table.add_column(name, justify="left" if name == "method" else "right", no_wrap=True)
    for method, marks in replay.methods.items():
        for place, mark in enumerate(marks):
            table.add_row(*map(Text, ("" if place else method, *_cells(mark))))
    print_table(console, table)
    said = f"regret: {metric} of the leader from the best recorded, mean over {replay.seeds} seeds"
    console.print(Text(f"{said}; seconds: of its trainings"), soft_wrap=True)
    for limit in replay.limits:
        console.print(Text(limit, style="yellow"), soft_wrap=True)


def _cells(mark: "Mark") -> tuple[str, ...]:
    interval = "–" if math.isnan(mark.low) else f"[{mark.low:.3g}, {mark.high:.3g}]"
    return str(mark.epochs), f"{mark.regret:.3g}", interval, f"{mark.seconds:.1f}"


def _numbers(text: str) -> Sequence[int]:
    """Read numbers that commas separate; BadParameter for others."""
    try:
        numbers = [int(each) for each in text.split(",") if each.strip()]
    except ValueError:
        numbers = [0]
    if any(number < 1 for number in numbers):
        allowed = "allowed: whole numbers from 1, separated by commas, such as 200,400"
        raise typer.BadParameter(f"{text!r} ({allowed})", param_hint="--epochs")
    return numbers
