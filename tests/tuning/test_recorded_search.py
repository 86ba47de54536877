"""Search methods replayed on recorded trials: they choose among these, and their regret is that from the best."""

import math
from dataclasses import replace

import numpy as np
import pytest

from nightune.tuning.recorded_search import (
    METHODS,
    Pool,
    Recording,
    Start,
    compare,
    default_epochs,
    fits,
    limits_of,
    said_of_start,
)
from nightune.tuning.search.domains import Choice, Range
from nightune.tuning.search.portfolio import Fitted
from nightune.tuning.search.prior_mean import PriorMean
from nightune.tuning.search.search_space import Dimension, SearchSpace
from nightune.tuning.simulator import simulate
from nightune.tuning.study.search_section import SearchSection

SPACE = SearchSpace((Dimension("rate", Range(0.0, 1.0)), Dimension("width", Range(0.0, 1.0))))


def recording(place: int, epochs: int = 8) -> Recording:
    """The loss falls with the epochs to a level that is lowest at a rate of 0.5 and a width of 0."""
    rate, width = place % 8 / 7, place // 8 / 7
    level = abs(rate - 0.5) + width
    curve = tuple(level + 1 / epoch for epoch in range(1, epochs + 1))
    return Recording({"rate": rate, "width": width}, curve, 2.0 * len(curve), is_whole=epochs == 8)


POOL = Pool(SPACE, "minimize", 8, tuple(map(recording, range(64))))


@pytest.mark.parametrize("method", METHODS)
def test_a_method_trains_recorded_points_only_and_each_once_in_a_sweep(method: str) -> None:
    settings = {"epochs": 8, "trials": 64, **METHODS[method][0]}
    if method == "hyperband":
        del settings["trials"]
    if method == "successive_halving":
        settings["smallest_epochs"] = 2
    begun: list[tuple[float, float]] = []
    for training in simulate(SearchSection.model_validate(settings), POOL.bank, 0):
        if len(begun) == (8 if method == "hyperband" else 64):
            break
        if training.begin == 0:
            begun.append((float(str(training.point["rate"])), float(str(training.point["width"]))))
    assert len(set(begun)) == len(begun) == (8 if method == "hyperband" else 64)
    assert {(each.point["rate"], each.point["width"]) for each in POOL.recordings} >= set(begun)


def test_the_regret_falls_to_zero_where_all_is_trained_and_seconds_are_those_recorded() -> None:
    (quarter, whole) = compare(POOL, "random", [128, 512], seeds=5)
    assert quarter.regret > whole.regret == 0.0
    assert (quarter.seconds, whole.seconds) == (256.0, 1024.0)
    assert (whole.hits, whole.low, whole.high) == (1.0, 0.0, 0.0)
    assert quarter.low < quarter.regret < quarter.high
    assert math.isnan(compare(POOL, "random", [128], seeds=1)[0].low)


def test_a_model_finds_the_best_before_chance_does() -> None:
    (drawn,), (modelled,) = (compare(POOL, method, [256], seeds=6) for method in ("random", "gp"))
    assert modelled.hits > drawn.hits
    assert modelled.regret < drawn.regret
    assert compare(POOL, "gp", [256], seeds=6) == [modelled]


def test_auto_begins_with_the_recorded_points_nearest_to_the_portfolio_and_auto_drawn_with_draws() -> None:
    best = Fitted({"rate": 0.55, "width": 0.05})  # nearest to the rate 4/7 and the width 0
    begun = replace(POOL, start=Start(lambda seed: [best]))
    assert compare(begun, "auto", [8], seeds=4)[0].hits == 1.0
    for method in ("auto_drawn", "gp"):
        assert compare(begun, method, [8, 64], 4) == compare(POOL, method, [8, 64], 4)
    assert "without scores" in said_of_start(begun)
    assert "draws" in said_of_start(POOL)
    assert "for want of a portfolio" in said_of_start(replace(POOL, start=Start(lambda seed: [])))


def test_auto_has_no_rungs_where_the_study_needs_full_trainings() -> None:
    whole = replace(POOL, needs_all=True)
    space = SearchSpace((*SPACE.dimensions, Dimension("stopping.rule", Choice(("median",)))))
    points = [replace(each, point={**each.point, "stopping.rule": "median"}) for each in POOL.recordings]
    by_rule = replace(POOL, space=space, recordings=tuple(points))
    drawn = compare(POOL, "random", [8, 24], 4)
    assert compare(whole, "auto_drawn", [8, 24], 4) == compare(by_rule, "auto_drawn", [8, 24], 4) == drawn
    assert compare(POOL, "auto_drawn", [8, 24], 4) != drawn
    assert compare(whole, "gp_rungs", [8, 24], 4) == compare(POOL, "gp_rungs", [8, 24], 4)


def test_a_replay_expects_the_scores_that_its_start_has() -> None:
    points = [{"rate": 0.5 + place / 200, "width": place / 40} for place in range(40)]
    expects = PriorMean(SPACE, points, np.linspace(-2, 2, 40))
    begun = replace(POOL, start=Start(lambda seed: [], expects))
    with_scores, without = (compare(each, "auto", [56], 6)[0] for each in (begun, POOL))
    assert with_scores.regret < without.regret
    assert "with its scores" in said_of_start(begun)


def test_the_nearest_recorded_points_come_once_and_drawn_params_decide_only_between_equals() -> None:
    space = SearchSpace((Dimension("kind", Choice(("a", "b"))), Dimension("rate", Range(0.0, 1.0))))
    recorded = [{"kind": kind, "rate": rate} for kind in "ab" for rate in (0.2, 0.8)]
    pool = Pool(space, "minimize", 1, tuple(Recording(point, (1.0,), 1.0, True) for point in recorded))
    drawn = Fitted({"kind": "a", "rate": 0.75}, drawn=("kind",))
    assert pool.nearest([drawn, drawn, drawn]) == [recorded[1], recorded[3], recorded[0]]
    assert pool.nearest([Fitted({"kind": "b", "rate": 0.75})] * 9) == [recorded[place] for place in (3, 2, 1, 0)]


def test_halving_gets_as_many_trials_as_the_epochs_allow() -> None:
    first, second = compare(POOL, "successive_halving", [32, 128], seeds=4)
    assert second.regret <= first.regret
    assert first.seconds <= 64.0


def test_what_is_recorded_several_times_counts_with_its_mean_and_what_is_not_finite_never_wins() -> None:
    point = {"rate": 0.5, "width": 0.5}
    twice = (Recording(point, (3.0, 1.0), 2.0, True), Recording(point, (2.0, 3.0), 2.0, True))
    failed = Recording({"rate": 0.1, "width": 0.1}, (math.nan, math.nan), 2.0, False)
    pool = Pool(SPACE, "minimize", 2, (*twice, failed))
    assert pool.best == 1.5
    assert pool.of(point, 1).curve == (2.0, 3.0)
    assert math.isnan(pool.objective(failed.point))
    assert compare(pool, "random", [4], seeds=3)[-1].regret == 0.0
    (none,) = compare(Pool(SPACE, "minimize", 2, (failed,)), "random", [2], seeds=2)
    assert math.isnan(none.regret)


def test_the_limits_name_few_trials_and_curves_that_end_early() -> None:
    assert default_epochs(POOL) == [64, 128, 256]
    few = Pool(SPACE, "minimize", 8, tuple(recording(place, 3) for place in range(8)))
    said = " ".join(limits_of(few))
    assert "8 recorded points" in said
    assert "fewer than 32" in said
    assert "8 of 8 trials ended" in said
    assert len(limits_of(POOL)) == 2
    dropped = [replace(each, is_dropped=not each.is_whole) for each in POOL.recordings]
    dropped[0] = replace(dropped[0], is_whole=False, is_dropped=True)
    first, *_ = limits_of(replace(POOL, recordings=tuple(dropped)))
    assert first.startswith("no fair comparison: 1 of")
    assert 'method = "random"' in first
    short = Pool(SPACE, "minimize", 3, few.recordings)
    assert [name for name in METHODS if fits(short, name)] == ["random", "gp", "tpe", "auto", "auto_drawn"]
