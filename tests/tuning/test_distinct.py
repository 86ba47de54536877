"""A random search trains no point twice where its space has few, and draws as ever where it has any number."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightune.tuning.search import distinct
from nightune.tuning.search.distinct import distinct_points, point_count
from nightune.tuning.search.domains import Choice, Range
from nightune.tuning.search.samplers import random
from nightune.tuning.search.search_space import Condition, Dimension, SearchSpace
from tests.tuning.conftest import Read, study_text, unhurried

FINITE = SearchSpace(
    (
        Dimension("optimizer", Choice(("sgd", "adam"))),
        Dimension("nesterov", Choice((True, False)), (Condition("optimizer", ("sgd",)),)),
        Dimension("model.depth", Range(1, 3, "log", integer=True)),
    )
)
FINITE_POINTS = 9


@unhurried
@given(st.integers(1, 12), st.integers(0, 1000))
def test_points_differ_and_do_not_depend_on_their_number(count: int, seed: int) -> None:
    points = distinct_points(FINITE, count, [], (seed, 0))
    assert len({json.dumps(point) for point in points}) == len(points) == min(count, FINITE_POINTS)
    assert points == distinct_points(FINITE, 100, [], (seed, 0))[:count]


def test_points_are_those_of_a_random_search_without_its_repeats() -> None:
    drawn = {json.dumps(point): point for point in random(FINITE, 200, [], (3, 1))}
    assert distinct_points(FINITE, 9, [], (3, 1)) == list(drawn.values())


def test_a_point_that_is_hardly_ever_drawn_is_listed() -> None:
    rare = [Dimension(f"a{n}", Choice((0, 1)), (Condition(f"a{n - 1}", (1,)),) if n else ()) for n in range(16)]
    points = distinct_points(SearchSpace(tuple(rare)), 17, [], (0, 0))
    assert len({json.dumps(point) for point in points}) == 17


def test_a_large_branch_that_is_hardly_ever_drawn_is_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distinct, "all_points", None)
    rare = [Dimension(f"a{n}", Choice((0, 1)), (Condition(f"a{n - 1}", (1,)),) if n else ()) for n in range(10)]
    wide = Dimension("wide", Range(1, 10**9, integer=True), (Condition("a9", (1,)),))
    points = distinct_points(SearchSpace((*rare, wide)), 14, [], (0, 0))
    assert len({json.dumps(point) for point in points}) == 14


def test_a_space_with_a_continuous_range_is_drawn_as_before() -> None:
    space = SearchSpace((*FINITE.dimensions, Dimension("rate", Range(0.0, 1.0), (Condition("optimizer", ("adam",)),))))
    assert point_count(space, 100) is None
    assert distinct_points(space, 30, [], (0, 0)) == random(space, 30, [], (0, 0))


@pytest.mark.parametrize(("limit", "count"), [(100, FINITE_POINTS), (FINITE_POINTS, FINITE_POINTS)])
def test_points_are_counted(limit: int, count: int) -> None:
    assert point_count(FINITE, limit) == count


def test_a_study_plans_no_more_trials_than_points(read: Read) -> None:
    study = read(
        study_text(
            'optimizer = ["sgd", "adam"]\nlearning_rate.peak = 0.1\nbatch_size.size = [16, 32]',
            search='method = "random"\ntrials = 9\nepochs = 2',
        )
    )
    assert (study.trial_count, study.point_count) == (4, 4)
    assert study.repeats.startswith("search.trials: 9, but the space has 4 points: each is tried once")
    assert len(study.draw(study.space, study.trial_count, [], (0, 0))) == 4
    before = study.model_copy(update={"repeats_points": True})
    assert before.trial_count == 9
    assert before.draw is random
    assert before.digest == study.digest


def test_a_population_in_a_space_of_few_points_has_any_number_of_trials(read: Read) -> None:
    search = 'method = "pbt"\npopulation = 8\nepochs = 4'
    study = read(study_text("learning_rate.peak = [0.1, 0.01]", search=search))
    assert study.trial_count > 2
    assert (study.point_count, study.repeats) == (None, "")


def test_trials_of_a_single_point_differ_in_their_seeds(read: Read) -> None:
    study = read(study_text("learning_rate.peak = 0.1", search="trials = 3\nepochs = 2"))
    assert study.trial_count == len(study.draw(study.space, 3, [], (0, 0))) == 3
    assert study.repeats == "the space has one point: its 3 trials differ only in their seeds"
