"""The account of early stopping, and the regret that the audit of a random share measures."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nightune.tuning.analysis.early_stopping import (
    Audited,
    audit_key,
    audited_pairs,
    ended_with_search,
    regret,
    regret_of,
    saved,
    stopped,
    to_audit,
)
from nightune.tuning.trial import Bracket, Rung, Status, Trial, TrialResult

BUDGET = 10


def result(
    number: int, epochs: int, status: Status = Status.STOPPED_EARLY, score: float = 0.8, **of: Any
) -> TrialResult:
    trial = Trial(number, {}, seed=1, key=f"{number}", **of)
    return TrialResult(trial, status, score, min(epochs, 1), epochs, 0, 0, seconds=2.0 * epochs)


RESULTS = [
    result(3, 4),
    result(0, 10, Status.COMPLETED),
    result(1, 5, Status.NOT_PROMOTED),
    result(2, 2, Status.DIVERGED),
    result(4, 0, Status.FAILED),
]


def test_trials_that_a_rule_or_a_rung_ended_are_stopped_and_no_others() -> None:
    assert [each.trial.number for each in stopped(RESULTS, BUDGET)] == [1, 3]


def test_a_stopped_trial_saves_its_other_epochs_at_its_own_pace() -> None:
    found = saved(RESULTS, BUDGET, {3: 0.5})
    assert [(each.result.trial.number, each.epochs, each.seconds) for each in found] == [(1, 5, 10.0), (3, 6, 3.0)]


def test_the_draw_depends_on_the_seed_alone_and_a_greater_share_draws_more_of_the_same() -> None:
    held = [result(number, 4) for number in range(40)]
    few, more = to_audit(held, 0.1, (7, 0)), to_audit(held[::-1], 0.5, (7, 0))
    assert (len(few), len(more)) == (4, 20)
    assert {each.trial.number for each in few} < {each.trial.number for each in more}
    assert few == to_audit(held[::-1], 0.1, (7, 0)) != to_audit(held, 0.1, (7, 1))
    assert len(to_audit(held[:3], 0.05, (7, 0))) == 1
    assert to_audit([], 0.5, (7, 0)) == []


def test_each_trial_is_drawn_about_equally_often() -> None:
    held = [result(number, 4) for number in range(20)]
    drawn = [each.trial.number for seed in range(400) for each in to_audit(held, 0.25, (seed, 0))]
    counts = np.bincount(drawn, minlength=20)
    assert counts.min() > 60  # 100 on average, with a deviation of 9
    assert counts.max() < 140


@pytest.mark.parametrize("sign", [1, -1])
def test_a_planted_regret_is_measured_in_both_directions(sign: int) -> None:
    direction = "maximize" if sign > 0 else "minimize"
    ends = ((0, 0.5, 0.7, 3), (1, 0.6, 0.6, 4), (2, 0.6, 0.95, 4), (3, 0.6, math.nan, 4))
    held = [Audited(number, sign * search, sign * full, at) for number, search, full, at in ends]
    found = regret(held, 40, sign * 0.9, direction)
    assert found is not None
    assert found.missed == pytest.approx((0.2 + 0.35) / 4)
    assert found.missed_low == 0.0
    assert found.missed_high > found.missed
    assert (found.audited, found.stopped, found.better) == (4, 40, 1)
    assert found.better_low == 1
    assert 10 < found.better_high < 40


def test_without_an_audit_there_is_no_regret_and_of_one_trial_no_interval() -> None:
    assert regret([], 4, 0.9, "maximize") is None
    one = regret([Audited(0, 0.5, 0.6, 3)], 4, 0.9, "maximize")
    assert one is not None
    assert math.isnan(one.missed_low)
    whole = regret([Audited(0, 0.5, 0.6, 3), Audited(1, 0.5, 0.5, 3)], 2, 0.9, "maximize")
    assert whole is not None
    assert (whole.missed_low, whole.missed_high) == (whole.missed, whole.missed)
    assert (whole.better_low, whole.better_high) == (0, 0)


def test_intervals_hold_the_truth_of_all_stopped_trials_in_95_of_100_draws() -> None:
    random = np.random.default_rng(0)
    ends = random.normal(0.75, 0.08, 60)
    truth = [Audited(number, 0.7, float(end), 3) for number, end in enumerate(ends)]
    whole = regret(truth, 60, 0.9, "maximize")
    assert whole is not None
    counted, averaged = 0, 0
    for _ in range(200):
        drawn = [truth[number] for number in random.choice(60, 15, replace=False)]
        found = regret(drawn, 60, 0.9, "maximize")
        assert found is not None
        counted += found.better_low <= whole.better <= found.better_high
        averaged += found.missed_low <= whole.missed <= found.missed_high
    assert counted >= 0.95 * 200
    assert averaged >= 0.92 * 200  # skewed: Student's interval is approximate


def audit(number: int, epochs: int, status: Status, score: float, of: str | None = None) -> TrialResult:
    held = result(number, epochs, status, score, is_audit=True)
    return replace(held, trial=replace(held.trial, key=audit_key(str(number) if of is None else of)))


def test_trials_are_paired_with_their_audits_and_one_that_diverged_has_no_score() -> None:
    audits = [audit(3, 10, Status.COMPLETED, 0.9), audit(1, 7, Status.DIVERGED, 0.8)]
    pairs = audited_pairs(RESULTS, [*audits, audit(9, 10, Status.COMPLETED, 0.9)], BUDGET)
    assert [(each.trial, each.search, each.stopped_at) for each in pairs] == [(1, 0.8, 5), (3, 0.8, 4)]
    assert math.isnan(pairs[0].full)
    assert pairs[1].full == 0.9


def test_audits_of_trials_that_are_no_longer_stopped_or_were_trained_again_are_left_out() -> None:
    ended = [audit(each, 10, Status.COMPLETED, 0.9) for each in (0, 1, 3)]  # 0 was continued to the end since
    ended.append(audit(3, 10, Status.COMPLETED, 0.7, of="by other code"))
    found = regret_of(RESULTS, ended, BUDGET, "maximize")
    assert found is not None
    assert (found.audited, found.stopped) == (2, 2)
    assert found.missed == pytest.approx(0.1)


def test_trials_that_waited_for_the_next_rung_when_the_search_ended_were_not_stopped() -> None:
    done, last = (Bracket((Rung(4, 1), Rung(2, 3), Rung(1, 9)), first) for first in (0, 4))
    scores = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
    epochs = (1, 1, 3, 9, 1, 1, 1, 3)  # of the second bracket, trial 6 was to train to epoch 3, and 7 to epoch 9
    halted = [
        result(number, trained, Status.COMPLETED if trained == 9 else Status.NOT_PROMOTED, score)
        for number, (trained, score) in enumerate(zip(epochs, scores, strict=True))
    ]
    ended = ended_with_search(halted, (done, last), "maximize")
    assert ended == {6, 7}
    assert [each.trial.number for each in stopped(halted, 9, ended)] == [0, 1, 2, 4, 5]
    assert ended_with_search(halted[:4], (done, last), "maximize") == set()
    assert ended_with_search([], (done, last), "maximize") == set()
    of_both = regret_of(halted, [audit(6, 9, Status.COMPLETED, 0.9)], 9, "maximize", ended)
    assert of_both is None
