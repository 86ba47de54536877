"""Points proposed from results: valid, new, better than at random, and a function of their arguments alone."""

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightune.tuning.search.domains import Cases, Choice, Range
from nightune.tuning.search.encoding import Encoding
from nightune.tuning.search.gaussian_process import gaussian_process, log_expected_improvement, scores
from nightune.tuning.search.new_points import Point
from nightune.tuning.search.observations import Observation, comparable, observed
from nightune.tuning.search.samplers import random
from nightune.tuning.search.search_space import Condition, Dimension, SearchSpace
from nightune.tuning.search.surrogate import fitted
from nightune.tuning.trial import Status, Trial, Value
from tests.tuning.conftest import result
from tests.tuning.test_samplers import spaces

SPACE = SearchSpace(
    (
        Dimension("optimizer", Choice(("sgd", "adam", "lion"))),
        Dimension("rate", Range(1e-4, 1e-1, "log")),
        Dimension("momentum", Range(0.0, 1.0), (Condition("optimizer", ("sgd",)),)),
        Dimension(
            "decay",
            Cases(
                "optimizer",
                ((("sgd",), Range(0.1, 1.0)), (("adam",), Choice(("none", "fixed"))), (("lion",), Choice((1,)))),
            ),
        ),
        Dimension("units", Choice((64, 16, 32))),
        Dimension("layers", Choice(([64], [32, 16]))),
        Dimension("depth", Range(1, 3, integer=True)),
    )
)
SMALL = SearchSpace((Dimension("a", Range(1, 4, integer=True)), Dimension("b", Choice(("x", "y", "z")))))


def loss(point: Point) -> float:
    """Lowest for adam at a rate of 1e-2."""
    rate = math.log10(float(str(point["rate"])))
    return (rate + 2) ** 2 + (0.0 if point["optimizer"] == "adam" else 1.0)


def seen(points: Sequence[dict[str, Value]], losses: Sequence[float]) -> list[Observation]:
    return [
        Observation(number, point, {4: each}) for number, (point, each) in enumerate(zip(points, losses, strict=True))
    ]


def first_round(count: int = 16) -> list[Observation]:
    points = random(SPACE, count, [], (3, 0))
    return seen(points, [loss(point) for point in points])


def test_what_a_round_was_proposed_by_is_not_fitted_again_for_what_it_expects() -> None:
    encode, points = Encoding(SPACE), random(SPACE, 8, [], (3, 0))
    rows, losses = encode(points), scores(np.array(list(map(loss, points))))
    first = fitted(rows, losses, encode.groups)
    assert fitted(encode(points), losses.copy(), encode.groups) is first
    losses[0] += 0.5
    other = fitted(rows, losses, encode.groups)
    assert not np.array_equal(other.mean(rows), first.mean(rows))


def test_points_are_a_function_of_the_arguments_and_fewer_are_the_first_of_more() -> None:
    history = first_round()
    points = gaussian_process(SPACE, history, [], 6, (3, 0, 16))
    assert points == gaussian_process(SPACE, history, [], 6, (3, 0, 16))
    assert points[:4] == gaussian_process(SPACE, history, [], 4, (3, 0, 16))
    assert points != gaussian_process(SPACE, history, [], 6, (4, 0, 16))
    assert gaussian_process(SPACE, history, [], 0, (3, 0, 16)) == []


def test_a_round_that_is_extended_continues_after_its_pending_points() -> None:
    history = first_round()
    whole = gaussian_process(SPACE, history, [], 8, (3, 0, 16))
    assert gaussian_process(SPACE, history, whole[:3], 5, (3, 0, 16)) == whole[3:]


def test_a_batch_is_better_than_at_random_and_spread() -> None:
    history = first_round()
    points = gaussian_process(SPACE, history, [], 16, (3, 0, 16))
    drawn = random(SPACE, 200, [], (9, 0))
    assert np.median([loss(point) for point in points]) < np.quantile([loss(point) for point in drawn], 0.25)
    assert min(map(loss, points)) < min(each.losses[4] for each in history)
    assert len({json.dumps(point) for point in points}) == 16


def test_points_near_failed_trials_are_avoided() -> None:
    points = random(SPACE, 32, [], (3, 0))
    history = seen(points, [math.nan if point["optimizer"] == "adam" else loss(point) for point in points])
    proposed = gaussian_process(SPACE, history, [], 16, (3, 0, 32))
    assert sum(point["optimizer"] == "adam" for point in proposed) <= 3


def test_a_space_of_few_points_is_exhausted_without_repeats() -> None:
    points = random(SMALL, 40, [], (1, 0))
    history = seen(list({json.dumps(point): point for point in points}.values())[:5], [3.0, 1.0, 2.0, 5.0, math.nan])
    proposed = gaussian_process(SMALL, history, [], 7, (1, 0, 5))
    assert len({json.dumps(point) for point in [*proposed, *(each.point for each in history)]}) == 12


@pytest.mark.parametrize("losses", [[], [math.nan] * 16, [1.0, 2.0] + [math.nan] * 14])
def test_with_hardly_any_result_points_are_random_and_new(losses: list[float]) -> None:
    history = seen(random(SPACE, len(losses), [], (3, 0)), losses)
    proposed = gaussian_process(SPACE, history, [], 16, (3, 0, 16))
    assert len({json.dumps(point) for point in [*proposed, *(each.point for each in history)]}) == 16 + len(losses)


def test_a_space_of_one_point_repeats_it() -> None:
    one = SearchSpace((Dimension("a", Choice((1,))),))
    assert gaussian_process(one, seen([{"a": 1}] * 4, [1.0, 2.0, 3.0, 4.0]), [], 2, (0, 0, 4)) == [{"a": 1}, {"a": 1}]


@pytest.mark.slow
@settings(deadline=None, max_examples=15)
@given(
    space=spaces(),
    losses=st.lists(st.sampled_from([math.nan, 0.0, 0.5, 1.0, 1e30, -1e30]), min_size=3, max_size=12),
    seed=st.integers(0, 2**32 - 1),
)
def test_points_of_any_space_are_valid(space: SearchSpace, losses: list[float], seed: int) -> None:
    history = seen(random(space, len(losses), [], (seed, 0)), losses)
    for point in gaussian_process(space, history, [], 3, (seed, 0, 16)):
        assert json.loads(json.dumps(point)) == point
        assert list(point) == sorted(point)
        for dimension in space.dimensions:
            assert (dimension.name in point) == dimension.is_active(point)
            assert dimension.name not in point or dimension.domain.contains(point[dimension.name])


def test_the_vectors_of_points_keep_orders_and_hide_what_is_inactive() -> None:
    encode = Encoding(SPACE)
    base = {"depth": 1, "layers": [64], "optimizer": "lion", "rate": 1e-4, "units": 16, "decay": 1}
    rows = encode(
        [base, base | {"units": 32}, base | {"units": 64}, base | {"optimizer": "sgd", "momentum": 0.5, "decay": 0.55}]
    )
    apart = ((rows[:, None] - rows[None]) ** 2).sum(axis=2)
    assert apart[0, 1] == pytest.approx(apart[1, 2])
    assert apart[0, 2] == pytest.approx(4 * apart[0, 1])
    # Another optimizer: two options are at distance 1, whatever else becomes active in the middle of its range.
    assert apart[0, 3] == pytest.approx(1.0)
    assert len(encode.groups) == rows.shape[1]
    assert rows.min() >= 0
    assert rows.max() <= 1


def test_scores_are_standardized_with_nan_as_the_worst_and_no_outlier_flattens_them() -> None:
    found = scores(np.array([1.0, 2.0, 3.0, 1e9, math.nan]))
    assert (found.mean(), found.std()) == (pytest.approx(0, abs=1e-9), pytest.approx(1))
    assert found[4] == found[3] == found.max()
    assert found[1] - found[0] > 0.2
    assert scores(np.array([2.0, 2.0, 2.0])).tolist() == [0, 0, 0]


def test_expected_improvement_is_the_mean_over_draws_and_finite_far_away() -> None:
    draws = np.random.default_rng(0).normal(1.0, 0.5, 400_000)
    found = log_expected_improvement(np.array([1.0, 1e3]), np.array([0.5, 0.5]), 0.8)
    assert math.exp(found[0]) == pytest.approx(np.maximum(0.8 - draws, 0).mean(), rel=0.02)
    assert np.isfinite(found[1])


def test_losses_are_compared_at_the_highest_rung_with_ten_of_them_and_failures_always_count() -> None:
    trials = [Trial(number, {}, 0, str(number), point={"rate": number}) for number in range(24)]
    low = [result(number, number / 10) for number in range(23)] + [result(23, 0.1, Status.DIVERGED)]
    rungs = [(3, low), (6, low[:12]), (12, low[:5])]
    history = observed(trials, rungs, "maximize")
    found = {each.number: loss for each, loss in comparable(history)}
    assert sorted(found) == [*range(12), 23]
    assert found[4] == -0.4
    assert math.isnan(found[23])
    assert [each.number for each, _ in comparable(history[:8])] == list(range(8))
    assert comparable([]) == []
