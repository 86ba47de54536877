"""A continuation that got no better than its parent has the parent's model, and is no further result."""

import math
from dataclasses import replace

from nightune.tuning.analysis.leaderboard import inherited
from nightune.tuning.trial import Parent, Status, TrialResult
from tests.tuning.conftest import result


def continued(number: int, parent: int, after: int, best_epoch: int, status: Status = Status.COMPLETED) -> TrialResult:
    held = result(number, 0.1, status)
    trial = replace(held.trial, parent=Parent(parent, after, 9))
    return replace(held, trial=trial, best_epoch=best_epoch, epochs=6)


def test_only_continuations_without_a_better_epoch_are_inherited() -> None:
    first = replace(result(0, 0.1), best_epoch=2, epochs=6)
    assert inherited([first, continued(1, 0, 4, 2), continued(2, 0, 4, 5)]) == {1}
    assert inherited([continued(2, 1, 4, 2), continued(1, 0, 3, 2), first]) == {1, 2}  # of the grandparent
    assert inherited([first, continued(1, 0, 2, 4), continued(2, 1, 5, 4)]) == {2}


def test_one_continuation_stands_for_a_parent_that_has_no_rank() -> None:
    diverged = replace(result(0, math.nan, Status.DIVERGED), best_epoch=2, epochs=5)
    failed = continued(1, 0, 4, 0, Status.FAILED)
    assert inherited([diverged, failed, continued(2, 0, 4, 2), continued(3, 0, 4, 2)]) == {3}
