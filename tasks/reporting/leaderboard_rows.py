"""A sweep's leaderboard as flat values: its rows and their CSV, and for `--json` what was confirmed and believed."""

import csv
import io
import math
from collections.abc import Sequence, Set
from dataclasses import asdict

from nightune.tasks.tracking.sweeps.confirmations import confirmation_rows
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tuning.analysis.beliefs import Beliefs
from nightune.tuning.analysis.confirmation import Confirmation
from nightune.tuning.trial import Trial, TrialResult, Value

Row = dict[str, Value]
_EXPECTED = {"expected": "value", "expected_deviation": "deviation", "expected_epochs": "epochs"}


def leaderboard_rows(
    sweep: Sweep, results: Sequence[TrialResult], varying: Sequence[str], on_front: Set[int]
) -> list[Row]:
    """Return a row for each result, in their order: rank, trial, status, objective, cost, why, params, run.

    `varying` are the params that have columns, `on_front` the numbers of the trials that no other one beats.
    """
    why = _why_rows([each.trial for each in results])
    numbered = enumerate(zip(results, why, strict=True), start=1)
    return [
        _row(sweep, rank, result, on_front)
        | reason
        | {name: result.trial.params.get(name) for name in varying}
        | {"run_id": result.run_id, "message": result.message}
        for rank, (result, reason) in numbered
    ]


def as_csv(rows: Sequence[Row]) -> str:
    """Return the rows as comma-separated text with a header; cells of absent values are empty."""
    if not rows:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _row(sweep: Sweep, rank: int, result: TrialResult, on_front: Set[int]) -> Row:
    """Return what every trial has: its rank, objectives and cost."""
    return {
        "rank": rank if result.is_ranked else None,
        "trial": result.trial.number,
        "status": str(result.status),
        sweep.metric: result.objective if result.best_epoch else None,
        **{name: _finite(result.further.get(name)) for name, _ in sweep.further},
        **({"is_on_front": result.trial.number in on_front} if sweep.further else {}),
        "best_epoch": result.best_epoch,
        "epochs": result.epochs,
        "seconds": round(result.seconds, 3),
    }


def _finite(value: float | None) -> float | None:
    """Return None for a value that JSON does not have."""
    return value if value is not None and math.isfinite(value) else None


def _why_rows(trials: Sequence[Trial]) -> list[Row]:
    """Return for each trial why it was proposed: the columns that one of them has, None where it has none."""
    columns = [
        *(["proposed_by"] if any(each.proposed_by for each in trials) else []),
        *(list(_EXPECTED) if any(each.expected is not None for each in trials) else []),
        *(["promoted_to"] if any(each.promoted_to for each in trials) else []),
    ]
    return [{column: _why(trial, column) for column in columns} for trial in trials]


def _why(trial: Trial, column: str) -> Value:
    if column in _EXPECTED:
        return None if trial.expected is None else getattr(trial.expected, _EXPECTED[column])
    return getattr(trial, column) or None


def believed_numbers(held: Beliefs | None) -> dict[str, object]:
    """Return what a model's search believes, for `--json`; empty without a model."""
    if held is None:
        return {}
    compared = {
        "proposed": len(held.predictions),
        "compared": len(held.compared),
        "is_whole": held.is_whole,
        "within_one": held.within(1),
        "within_two": held.within(2),
    }
    best = None if held.expected is None else {"params": held.point, **asdict(held.expected), "trial": held.trial}
    return {"beliefs": {"best": best, **compared, "correlation": held.correlation}}


def confirmed_numbers(confirmation: Confirmation | None) -> dict[str, object]:
    """Return the finalists and the claim, for `--json`; empty without a confirmation."""
    if confirmation is None:
        return {}
    claim = confirmation.claim
    claimed = {} if claim is None else {"claim": asdict(claim) | {"is_shown": claim.is_shown}}
    return {"confirmation": confirmation_rows(confirmation), **claimed}
