"""Differences between two sweeps."""

from dataclasses import replace

import pytest

from nightune.tuning.analysis.changes import Change
from nightune.tuning.analysis.sweep_comparison import ComparedSweep, Share, compare_nights
from nightune.tuning.trial import Status, Trial, TrialResult, Value
from nightune.vocabulary import DEFAULT_LOSS, LOSS_SAID


def result(number: int, objective: float, **params: Value) -> TrialResult:
    return TrialResult(
        trial=Trial(number=number, params=params, seed=number, key=f"{number}"),
        status=Status.COMPLETED,
        objective=objective,
        best_epoch=1,
        epochs=1,
        updates=1,
        examples=1,
        seconds=1.0,
        message="",
        run_id=f"run{number}",
    )


def night(sweep: str, *results: TrialResult) -> ComparedSweep:
    facts = {"data version": "d1", "engine": "fit"}
    return ComparedSweep(sweep, "val_loss", "minimize", facts, {"seed": 1, "search": {"trials": 4}}, results)


SGD = [result(number, 0.1 + number, optimizer="sgd", rate=10.0**-number) for number in range(8)]
ADAM = [result(number, 0.05 + number, optimizer="adam", rate=10.0**-number) for number in range(8)]


def test_identical_nights_have_no_differences() -> None:
    difference = compare_nights(night("a-0", *SGD), night("a-1", *SGD))
    assert (difference.changes, difference.shares, difference.is_comparable) == ((), (), True)
    assert [score.searched for score in difference.scores] == [0.1, 0.1]


def test_changes_of_data_engine_and_space_are_named() -> None:
    before = night("a-0", *SGD)
    after = replace(before, facts={"data version": "d2", "engine": "fit"}, content={"seed": 1, "search": {"trials": 9}})
    difference = compare_nights(before, after)
    assert difference.changes == (Change("data version", "d1", "d2"), Change("search.trials", 4, 9))
    assert not difference.is_comparable


def test_the_dimension_that_moved_is_shown_by_its_share_of_the_top() -> None:
    difference = compare_nights(night("a-0", *SGD), night("a-1", *ADAM))
    assert difference.shares == (Share("optimizer", "adam", 0.0, 1.0), Share("optimizer", "sgd", 1.0, 0.0))
    assert Change("optimizer", "sgd", "adam") in difference.best_params


def test_the_best_params_are_those_that_were_searched() -> None:
    before, after = (night(sweep, result(0, 0.1, rate=rate, size=30)) for sweep, rate in (("a-0", 0.1), ("a-1", 0.2)))
    assert compare_nights(before, after).best_params == (Change("rate", 0.1, 0.2),)


def test_a_range_is_cut_into_parts_of_equal_ratio() -> None:
    low = [result(number, 0.1, rate=1e-4 * 1.1**number) for number in range(16)]
    high = [result(number, 0.1, rate=1e-1 * 1.1**number) for number in range(16)]
    shares = compare_nights(night("a-0", *low), night("a-1", *high)).shares
    assert [(share.before, share.after) for share in shares] == [(1.0, 0.0), (0.0, 1.0)]
    assert shares[0].value.startswith("0.0001 to")


def test_a_night_without_a_ranked_trial_has_no_score() -> None:
    difference = compare_nights(night("a-0"), night("a-1", *SGD))
    assert difference.scores[0].searched is None
    assert difference.best_params[0].before is None


def test_values_are_plain_for_json() -> None:
    held = compare_nights(night("a-0", *SGD), night("a-1", *ADAM)).as_json()
    assert held["scores"][1]["searched"] == pytest.approx(0.05)


def test_scores_of_two_versions_of_a_users_metric_are_not_compared() -> None:
    plain = replace(night("a-0", *SGD), metric="val_profit", facts={"data version": "d1", "metric code": "c1"})
    edited = replace(plain, facts={"data version": "d1", "metric code": "c2"})
    assert compare_nights(plain, plain).is_comparable
    difference = compare_nights(plain, edited)
    assert (difference.is_comparable, difference.changes) == (False, (Change("metric code", "c1", "c2"),))


def test_losses_of_two_kinds_are_not_compared() -> None:
    plain, focal = night("a-0", result(0, 0.5)), night("a-1", result(0, 0.1, **{"training.loss": "focal"}))
    assert not compare_nights(plain, focal).is_comparable
    assert compare_nights(replace(plain, metric="val_auc"), replace(focal, metric="val_auc")).is_comparable
    default, compiled = (
        replace(plain, models=(f"m.py:build: outputs are logits (known){LOSS_SAID}{loss}",))
        for loss in (f"crossentropy ({DEFAULT_LOSS})", "huber (compiled by the model's function)")
    )
    assert compare_nights(plain, default).is_comparable
    assert not compare_nights(plain, compiled).is_comparable
