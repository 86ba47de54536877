"""Store the result of a sweep's confirmation on its run: a table for MLflow's pages, and a file to read back."""

import json
import math
from dataclasses import asdict, replace

from pydantic import TypeAdapter

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.records import optional_file
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tasks.tracking.sweeps.tables import add_table
from nightune.tuning.analysis.confirmation import COSTS, Confirmation
from nightune.tuning.trial import Value


def write_confirmation(store: Store, sweep: Sweep, confirmation: Confirmation) -> None:
    """Write the finalists to the sweep's run; the tag with the winner is set last and marks them complete."""
    client(store).log_dict(sweep.run_id, asdict(confirmation), names.CONFIRMATION)
    if confirmation.finalists:
        add_table(store, sweep.run_id, confirmation_rows(confirmation), names.CONFIRMATION_TABLE)
    winner = confirmation.winner
    if winner is not None:
        client(store).log_metric(sweep.run_id, names.CONFIRMED_OBJECTIVE, winner.finalist.mean)
    client(store).set_tag(sweep.run_id, names.CONFIRMED_TRIAL, "none" if winner is None else str(winner.finalist.trial))


def begin_confirmation(store: Store, sweep: Sweep, finalists: int, replicates: int) -> Sweep:
    """Record with how many finalists and seeds the confirmation begins, which later trials do not change."""
    client(store).set_tag(sweep.run_id, names.CONFIRMING, json.dumps([finalists, replicates]))
    return replace(sweep, confirming=(finalists, replicates))


def read_confirmation(store: Store, sweep: Sweep) -> Confirmation | None:
    """Return the confirmation, or None if the sweep's finalists were not confirmed, or its file is damaged."""
    if names.CONFIRMED_TRIAL not in client(store).get_run(sweep.run_id).data.tags:
        return None
    return optional_file(store, sweep.run_id, names.CONFIRMATION, parse_confirmation)


def parse_confirmation(text: str) -> Confirmation:
    """Read a confirmation from the text of its file; ValueError if it is damaged."""
    held = TypeAdapter(Confirmation).validate_python(json.loads(text))
    if held.cost not in COSTS:
        raise ValueError(f"cost: {held.cost!r} (allowed: {', '.join(COSTS)})")
    return held


def confirmation_rows(confirmation: Confirmation) -> list[dict[str, Value]]:
    """Return the finalists as flat rows, best first, with both the search score and the confirmed one."""
    return [
        {
            "trial": each.finalist.trial,
            "is_winner": confirmation.is_winner(each),
            "search_score": each.finalist.search_score,
            "confirmed_score": _known(each.finalist.mean),
            "low": _known(each.low),
            "high": _known(each.high),
            "standard_error": _known(each.standard_error),
            "best_probability": _known(each.best_probability),
            "is_within_one_standard_error": each.is_within,
            "optimism": _known(each.optimism),
            "replicates": len(each.finalist.scores),
            "parameters": each.finalist.parameters,
            "seconds": round(each.finalist.seconds, 3),
            "run_id": each.finalist.run_id,
        }
        for each in confirmation.finalists
    ]


def _known(value: float) -> float | None:
    """Return a table's cell: empty for NaN."""
    return None if math.isnan(value) else value
