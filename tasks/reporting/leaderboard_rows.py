"""Parts of a sweep's leaderboard as flat values: why trials were proposed, what was confirmed and believed."""

from collections.abc import Sequence
from dataclasses import asdict

from nightune.tasks.tracking.sweeps.confirmations import confirmation_rows
from nightune.tuning.analysis.beliefs import Beliefs
from nightune.tuning.analysis.confirmation import Confirmation
from nightune.tuning.trial import Trial, Value

Row = dict[str, Value]


def why_columns(trials: Sequence[Trial], trial: Trial) -> Row:
    """Return why a trial was proposed: the columns that one of the sweep's trials has, None where it has none."""
    columns: Row = {}
    if any(each.proposed_by for each in trials):
        columns["proposed_by"] = trial.proposed_by or None
    if any(each.expected is not None for each in trials):
        expected = trial.expected
        columns["expected"] = None if expected is None else expected.value
        columns["expected_deviation"] = None if expected is None else expected.deviation
        columns["expected_epochs"] = None if expected is None else expected.epochs
    if any(each.promoted_to for each in trials):
        columns["promoted_to"] = trial.promoted_to or None
    return columns


def believed_numbers(held: Beliefs | None) -> dict[str, object]:
    """Return what a model's search believes, for `--json`; empty without a model."""
    if held is None:
        return {}
    compared = {"compared": len(held.compared), "within_one": held.within(1), "within_two": held.within(2)}
    best = None if held.expected is None else {"params": held.point, **asdict(held.expected), "trial": held.trial}
    return {"beliefs": {"best": best, **compared, "correlation": held.correlation}}


def confirmed_numbers(confirmation: Confirmation | None) -> dict[str, object]:
    """Return the finalists and the claim, for `--json`; empty without a confirmation."""
    if confirmation is None:
        return {}
    claim = confirmation.claim
    claimed = {} if claim is None else {"claim": asdict(claim) | {"is_shown": claim.is_shown}}
    return {"confirmation": confirmation_rows(confirmation), **claimed}
