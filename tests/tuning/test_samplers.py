"""The contract of every sampler, and the additional guarantees of grid and random."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightune.tuning.search.domains import Choice, Domain, Range
from nightune.tuning.search.grid import grid_size
from nightune.tuning.search.methods import METHODS
from nightune.tuning.search.samplers import Sampler, grid, random, random_point
from nightune.tuning.search.search_space import Condition, Dimension, SearchSpace
from nightune.tuning.trial import Value
from tests.tuning.conftest import result, unhurried

SAMPLERS = sorted({row.sampler for row in METHODS.values()}, key=lambda sampler: sampler.__name__)
every_sampler = pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.__name__)

SPACE = SearchSpace(
    (
        Dimension("optimizer", Choice(("sgd", "adam"))),
        Dimension("nesterov", Choice((True, False)), (Condition("optimizer", ("sgd",)),)),
        Dimension("learning_rate.peak", Range(1e-4, 1e-1, "log", steps=3)),
        Dimension("batch_size.size", Range(8, 64, "log", integer=True, steps=3), (Condition("nesterov", (True,)),)),
        Dimension("model.units", Choice(([64], [32, 16]))),
        Dimension("model.depth", Range(1, 3, integer=True, steps=3), (Condition("nesterov", (True,), or_absent=True),)),
    )
)


@st.composite
def domains(draw: st.DrawFn) -> Domain:
    if draw(st.booleans()):
        options = st.sampled_from(["a", "b", 1, 2.5, True, [1]])
        return Choice(tuple(draw(st.lists(options, min_size=1, max_size=2, unique_by=repr))))
    scale, integer = draw(st.sampled_from(["linear", "log"])), draw(st.booleans())
    smallest = 1 if scale == "log" else -1000
    number = st.integers(smallest, 1000) if integer else st.floats(smallest, 1000).map(lambda n: round(n, 3))
    low = draw(number)
    high = draw(number.filter(lambda high: high > low) if low < 999 else st.just(low + 1))
    return Range(low, high, scale, integer, draw(st.integers(2, 3)))


@st.composite
def spaces(draw: st.DrawFn) -> SearchSpace:
    dimensions: list[Dimension] = []
    for name in draw(st.lists(st.sampled_from("abcde"), min_size=1, max_size=5, unique=True)):
        controllers = [each for each in dimensions if isinstance(each.domain, Choice)]
        when: tuple[Condition, ...] = ()
        if controllers and draw(st.booleans()):
            controller = draw(st.sampled_from(controllers))
            values = tuple(controller.domain.points[: draw(st.integers(1, 2))])
            when = (Condition(controller.name, values, draw(st.booleans())),)
        dimensions.append(Dimension(name, draw(domains()), when))
    return SearchSpace(tuple(dimensions))


@every_sampler
def test_same_seed_gives_the_same_trials(sampler: Sampler) -> None:
    assert sampler(SPACE, 7, [], (3, 0)) == sampler(SPACE, 7, [], (3, 0))


@every_sampler
def test_fewer_trials_are_the_first_of_more(sampler: Sampler) -> None:
    assert sampler(SPACE, 4, [], (3, 0)) == sampler(SPACE, 9, [], (3, 0))[:4]


@every_sampler
def test_zero_trials_give_zero_points(sampler: Sampler) -> None:
    assert sampler(SPACE, 0, [], (3, 0)) == []


@every_sampler
def test_the_order_of_dimensions_changes_nothing(sampler: Sampler) -> None:
    turned = SearchSpace(SPACE.dimensions[::-1])
    assert sampler(turned, 9, [], (3, 0)) == sampler(SPACE, 9, [], (3, 0))


@every_sampler
def test_the_history_is_not_changed(sampler: Sampler) -> None:
    history = [result(0, math.nan), result(1, 0.5)]
    sampler(SPACE, 3, history, (3, 0))
    assert repr(history) == repr([result(0, math.nan), result(1, 0.5)])


@every_sampler
def test_values_are_native_and_the_callers_own(sampler: Sampler) -> None:
    points = sampler(SPACE, 9, [], (3, 0))
    assert json.loads(json.dumps(points)) == points
    for point in points:
        assert {type(value) for value in point.values()} <= {bool, int, float, str, list}
        point["model.units"] = None
    units = sampler(SPACE, 1, [], (3, 0))[0]["model.units"]
    assert isinstance(units, list)
    units.clear()
    assert sampler(SPACE, 1, [], (3, 0))[0]["model.units"] != []


@every_sampler
@unhurried
@given(space=spaces(), seed=st.integers(0, 2**32 - 1))
def test_values_are_in_range_and_only_active_params_are_present(
    sampler: Sampler, space: SearchSpace, seed: int
) -> None:
    for point in sampler(space, 5, [], (seed, 0)):
        assert list(point) == sorted(point)
        for dimension in space.dimensions:
            is_active = all(
                condition.or_absent if condition.name not in point else holds(condition, point)
                for condition in dimension.when
            )
            assert (dimension.name in point) == is_active
            if is_active:
                assert dimension.domain.contains(point[dimension.name])


def holds(condition: Condition, point: dict[str, Value]) -> bool:
    return json.dumps(point[condition.name]) in [json.dumps(value) for value in condition.values]


@unhurried
@given(space=spaces(), seed=st.integers(0, 99), numbers=st.permutations(range(5)))
def test_random_trials_do_not_depend_on_their_order(space: SearchSpace, seed: int, numbers: list[int]) -> None:
    alone = {number: random_point(space, number, (seed, 1)) for number in numbers}
    assert random(space, 5, [], (seed, 1)) == [alone[number] for number in range(5)]


def test_random_trials_differ_between_seeds_sweeps_and_numbers() -> None:
    peaks = [
        random(SPACE, 20, [], seed)[number]["learning_rate.peak"]
        for seed in ((3, 0), (3, 1), (4, 0))
        for number in range(20)
    ]
    assert len(set(map(str, peaks))) == 60


def test_a_condition_does_not_change_the_draws_of_other_dimensions() -> None:
    free = SearchSpace(tuple(Dimension(each.name, each.domain) for each in SPACE.dimensions))
    for bound, unbound in zip(random(SPACE, 20, [], (3, 0)), random(free, 20, [], (3, 0)), strict=True):
        assert all(unbound[name] == value for name, value in bound.items())


def test_random_draws_cover_a_log_range_evenly_in_its_logarithm() -> None:
    space = SearchSpace((Dimension("rate", Range(1e-4, 1.0, "log")),))
    draws = [math.log10(float(str(point["rate"]))) for point in random(space, 2000, [], (0, 0))]
    for decade in range(-4, 0):
        assert 440 < sum(decade <= draw < decade + 1 for draw in draws) < 560


def test_random_whole_numbers_include_both_ends_equally_often() -> None:
    space = SearchSpace((Dimension("depth", Range(1, 4, integer=True)),))
    draws = [point["depth"] for point in random(space, 2000, [], (0, 0))]
    assert set(map(str, draws)) == {"1", "2", "3", "4"}
    assert all(440 < draws.count(number) < 560 for number in (1, 2, 3, 4))


def test_random_keeps_a_golden_point() -> None:
    """A change here makes old and new sweeps of one seed incomparable."""
    assert random_point(SPACE, 1, (7, 0)) == {
        "learning_rate.peak": 0.00283798250424,
        "model.units": [32, 16],
        "nesterov": False,
        "optimizer": "sgd",
    }


@unhurried
@given(spaces())
def test_a_grid_has_no_duplicates_and_the_stated_size(space: SearchSpace) -> None:
    points = [json.dumps(point, sort_keys=True) for point in grid(space, 10_000, [], (0, 0))]
    assert len(points) == len(set(points)) == grid_size(space)


def test_a_grid_counts_only_active_dimensions() -> None:
    # sgd with nesterov: 3 sizes x 3 depths; sgd without: nothing else; adam: 3 depths; each times 3 rates and 2 nets.
    assert grid_size(SPACE) == (9 + 1 + 3) * 3 * 2


def test_a_grid_of_astronomic_size_is_counted_without_building_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nightune.tuning.search.grid.GRID_LIMIT", 1000)
    free = SearchSpace(tuple(Dimension(f"d{place}", Range(0, 1, steps=10_000)) for place in range(20)))
    assert grid_size(free) == 10_000**20
    controllers = [Dimension(f"c{place}", Choice(tuple(range(20)))) for place in range(6)]
    bound = [Dimension("last", Choice((1, 2)), tuple(Condition(each.name, (1,)) for each in controllers))]
    assert grid_size(SearchSpace((*controllers, *bound))) > 1000
