"""Points proposed by tree-structured Parzen estimators: valid, new, better than at random, and the same again."""

import json
import math

import numpy as np
import pytest

from nightune.tuning.search.domains import Cases, Choice, Range
from nightune.tuning.search.new_points import Point
from nightune.tuning.search.observations import Observation
from nightune.tuning.search.samplers import random
from nightune.tuning.search.search_space import Condition, Dimension, SearchSpace
from nightune.tuning.search.tree_parzen import tree_parzen
from tests.tuning.test_gaussian_process import SMALL, SPACE, first_round, loss, seen


def test_points_are_a_function_of_the_arguments_and_fewer_are_the_first_of_more() -> None:
    history = first_round()
    points = tree_parzen(SPACE, history, [], 6, (3, 0, 16))
    assert points == tree_parzen(SPACE, history, [], 6, (3, 0, 16))
    assert points[:4] == tree_parzen(SPACE, history, [], 4, (3, 0, 16))
    assert points != tree_parzen(SPACE, history, [], 6, (4, 0, 16))
    assert tree_parzen(SPACE, history, [], 0, (3, 0, 16)) == []


def test_a_round_that_is_extended_continues_after_its_pending_points() -> None:
    history = first_round()
    whole = tree_parzen(SPACE, history, [], 8, (3, 0, 16))
    assert tree_parzen(SPACE, history, whole[:3], 5, (3, 0, 16)) == whole[3:]


def test_a_batch_is_better_than_at_random_and_has_no_point_twice() -> None:
    history = seen(points := random(SPACE, 48, [], (3, 0)), list(map(loss, points)))
    proposed = tree_parzen(SPACE, history, [], 16, (3, 0, 48))
    drawn = random(SPACE, 200, [], (9, 0))
    assert np.median(list(map(loss, proposed))) < np.quantile(list(map(loss, drawn)), 0.25)
    assert len({json.dumps(point) for point in proposed}) == 16


def test_points_near_failed_trials_are_avoided() -> None:
    points = random(SPACE, 64, [], (3, 0))
    history = seen(points, [math.nan if point["optimizer"] == "adam" else loss(point) for point in points])
    proposed = tree_parzen(SPACE, history, [], 16, (3, 0, 64))
    assert sum(point["optimizer"] == "adam" for point in proposed) <= 5


@pytest.mark.parametrize("count", [1, 12, 14])
def test_a_space_of_few_points_is_exhausted_without_repeats(count: int) -> None:
    known = random(SMALL, 2, [], (1, 0))
    points = tree_parzen(SMALL, seen(known, [0.3, 0.1]), [], count, (1, 0, 2))
    assert len(points) == count
    assert len({json.dumps(point) for point in [*known, *points]}) == min(12, count + 2)


def test_who_came_further_ranks_before_who_was_dropped() -> None:
    """All that trained to the end are near 0.2, and all that were dropped earlier, with lower losses, near 0.8."""
    space = SearchSpace((Dimension("rate", Range(0.0, 1.0)),))
    whole = [Observation(number, {"rate": 0.2 + number / 1000}, {3: 0.9, 12: 0.8}) for number in range(10)]
    dropped = [Observation(10 + number, {"rate": 0.8 + number / 1000}, {3: 0.1 + number}) for number in range(10)]
    points = tree_parzen(space, [*whole, *dropped], [], 16, (2, 0, 20))
    assert np.median([float(str(point["rate"])) for point in points]) < 0.5


def test_numbers_among_the_options_have_an_order() -> None:
    """The best widths are 8 and 32, which stand apart in the list: 16, between them, was never tried."""
    space = SearchSpace((Dimension("width", Choice((8, 512, 256, 32, 1024, 16, 128, 64))),))
    known: list[Point] = [{"width": width} for width in (8, 32, 1024, 512, 256, 128) * 4]
    history = [
        Observation(number, point, {1: abs(math.log2(int(str(point["width"]))) - 4)})
        for number, point in enumerate(known)
    ]
    assert tree_parzen(space, history, [], 1, (5, 0, 24)) == [{"width": 16}]


def test_each_case_of_a_dimension_is_learned_by_itself() -> None:
    """The best decay is high under sgd and low under adam."""
    cases = ((("sgd",), Range(0.0, 1.0)), (("adam",), Range(0.0, 1.0)))
    optimizer = Dimension("optimizer", Choice(("sgd", "adam")))
    space = SearchSpace((optimizer, Dimension("decay", Cases("optimizer", cases))))
    points = random(space, 80, [], (6, 0))
    best = {"sgd": 0.9, "adam": 0.1}
    history = seen(points, [abs(float(str(each["decay"])) - best[str(each["optimizer"])]) for each in points])
    proposed = tree_parzen(space, history, [], 24, (6, 0, 80))
    for optimizer, place in best.items():
        found = [float(str(each["decay"])) for each in proposed if each["optimizer"] == optimizer]
        assert found
        assert abs(np.median(found) - place) < 0.25


def test_a_point_of_another_space_counts_as_far_as_it_fits() -> None:
    space = SearchSpace(
        (
            Dimension("optimizer", Choice(("sgd", "adam"))),
            Dimension("momentum", Range(0.0, 1.0), (Condition("optimizer", ("sgd",)),)),
        )
    )
    earlier: list[Point] = [{"optimizer": "lion", "momentum": 0.5}, {"optimizer": "sgd", "momentum": 3.0}]
    history = seen([dict(each) for each in earlier] * 8, [0.1] * 16)
    for point in tree_parzen(space, history, [], 4, (7, 0, 16)):
        assert ("momentum" in point) == (point["optimizer"] == "sgd")


def test_of_recorded_points_each_is_taken_once_until_none_is_left() -> None:
    history = first_round()
    among = [*random(SPACE, 10, [], (8, 0)), history[0].point]
    points = tree_parzen(SPACE, history, [], 16, (3, 0, 16), among)
    assert sorted(map(json.dumps, points)) == sorted(map(json.dumps, among[:10]))
