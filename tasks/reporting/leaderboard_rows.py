"""Parts of a sweep's leaderboard as flat values: why trials were proposed, what was confirmed and believed."""

from collections.abc import Sequence
from dataclasses import asdict

from nightune.tasks.tracking.sweeps.confirmations import confirmation_rows
from nightune.tuning.analysis.beliefs import Beliefs
from nightune.tuning.analysis.confirmation import Confirmation
from nightune.tuning.trial import Trial, Value

Row = dict[str, Value]
_EXPECTED = {"expected": "value", "expected_deviation": "deviation", "expected_epochs": "epochs"}


def why_rows(trials: Sequence[Trial]) -> list[Row]:
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
