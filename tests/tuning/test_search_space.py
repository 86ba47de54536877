"""Ranges, choices, conditions and spaces are checked at construction and stay within their bounds."""

import math
import re
from collections.abc import Callable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nightune.tuning.search.domains import Cases, Choice, Range
from nightune.tuning.search.search_space import Condition, Dimension, SearchSpace, find_circle
from tests.tuning.conftest import unhurried

UNIT = st.floats(0, 1, exclude_max=True)
SGD = Condition("optimizer", ("sgd",))
OPTIMIZER = Dimension("optimizer", Choice(("sgd", "adam")))


def test_the_options_of_a_dimension_are_those_under_any_condition() -> None:
    cases = Cases("optimizer", ((("sgd",), Choice((8, 16))), (("adam",), Range(1.0, 2.0))))
    space = SearchSpace((OPTIMIZER, Dimension("size", cases)))
    assert space.options("optimizer") == ["sgd", "adam"]
    assert space.options("size") == [8, 16]
    assert space.options("none") == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Range(1.0, 1.0), "low 1.0 is not below high 1.0"),
        (lambda: Range(0.0, 1.0, "log"), "low 0.0 has no logarithm"),
        (lambda: Range(0.0, float("inf")), "is not finite"),
        (lambda: Range(0.0, 1.5, integer=True), "1.5 is not a whole number"),
        (lambda: Range(0.0, 1.0, steps=1), "steps 1 is out of range"),
        (lambda: Choice(()), "without options"),
        (lambda: Choice((1, 2, 1)), "the option 1 is given twice"),
        (lambda: SearchSpace((OPTIMIZER, OPTIMIZER)), "optimizer: given twice"),
        (lambda: SearchSpace((Dimension("a", Choice((1,)), (SGD,)),)), "unknown dimension: 'optimizer'"),
        (
            lambda: SearchSpace((OPTIMIZER, Dimension("a", Choice((1,)), (Condition("optimizer", ("gd",)),)))),
            "optimizer never has ['gd']",
        ),
        (
            lambda: SearchSpace(
                (
                    Dimension("a", Choice((1,)), (Condition("b", (1,)),)),
                    Dimension("b", Choice((1,)), (Condition("a", (1,)),)),
                )
            ),
            "circular conditions: a → b → a",
        ),
    ],
)
def test_impossible_values_are_refused_at_construction(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


@unhurried
@given(low=st.floats(1e-12, 1e12), high=st.floats(1e-12, 1e12), unit=UNIT, scale=st.sampled_from(["linear", "log"]))
def test_a_draw_never_leaves_its_range(low: float, high: float, unit: float, scale: str) -> None:
    assume(low < high)
    domain = Range(low, high, scale)  # type: ignore[arg-type]
    value = domain.from_unit(unit)
    assert isinstance(value, float)
    assert low <= value <= high
    assert domain.from_unit(0.0) == pytest.approx(low)
    assert domain.from_unit(min(domain.to_unit(value), 1 - 1e-16)) == pytest.approx(value, rel=1e-9, abs=1e-9 * high)


@unhurried
@given(low=st.integers(1, 500), more=st.integers(1, 500), unit=UNIT, scale=st.sampled_from(["linear", "log"]))
def test_a_whole_number_is_recovered_from_its_position(low: int, more: int, unit: float, scale: str) -> None:
    domain = Range(low, low + more, scale, integer=True)  # type: ignore[arg-type]
    value = domain.from_unit(unit)
    assert type(value) is int
    assert low <= value <= low + more
    assert domain.from_unit(domain.to_unit(value)) == value


def test_an_option_is_recovered_from_its_position() -> None:
    domain = Choice((1, True, "1", [1], 1.5))
    assert [domain.from_unit(domain.to_unit(option)) for option in domain.options] == list(domain.options)
    assert [type(domain.from_unit(place / 5)) for place in range(5)] == [int, bool, str, list, float]


@pytest.mark.parametrize(
    ("domain", "points"),
    [
        (Range(1e-4, 1e-1, "log", steps=4), (1e-4, 1e-3, 1e-2, 1e-1)),
        (Range(0, 1, steps=3), (0.0, 0.5, 1.0)),
        (Range(1, 3, integer=True, steps=5), (1, 2, 3)),
        (Range(8, 128, "log", integer=True, steps=5), (8, 16, 32, 64, 128)),
        (Choice(("b", "a")), ("b", "a")),
    ],
)
def test_the_points_of_a_grid_are_clean_numbers_with_both_ends(
    domain: Range | Choice, points: tuple[object, ...]
) -> None:
    assert domain.points == points
    assert list(map(type, domain.points)) == list(map(type, points))


def test_true_and_one_are_different_values() -> None:
    assert Choice((True, 1)).contains(True)
    assert not Choice((1, 2)).contains(True)
    assert not Condition("a", (1,)).holds({"a": True})
    assert not Range(0, 2, integer=True).contains(True)


def test_an_absent_param_meets_a_condition_only_where_it_may() -> None:
    assert not SGD.holds({})
    assert Condition("optimizer", ("sgd",), or_absent=True).holds({})
    assert not Condition("optimizer", ("sgd",), or_absent=True).holds({"optimizer": "adam"})


def test_a_param_that_depends_on_an_inactive_one_is_inactive() -> None:
    space = SearchSpace(
        (
            Dimension("deep", Choice((1, 2)), (Condition("nesterov", (True,)),)),
            Dimension("nesterov", Choice((True, False)), (SGD,)),
            OPTIMIZER,
        )
    )
    units = {"optimizer": 0.9, "nesterov": 0.1, "deep": 0.1}
    assert space.at(units) == {"optimizer": "adam"}
    assert space.at({**units, "optimizer": 0.1}) == {"deep": 1, "nesterov": True, "optimizer": "sgd"}
    assert [each.name for each in space.in_control_order] == ["optimizer", "nesterov", "deep"]
    assert space.varying == ("deep", "nesterov", "optimizer")


def test_dimensions_describe_themselves() -> None:
    either = Dimension("a", Range(1e-4, 0.1, "log", steps=3), (SGD, Condition("nesterov", (True, False), True)))
    assert str(either.domain) == "0.0001 to 0.1, log, 3 steps"
    assert either.condition_text == "optimizer is sgd and nesterov is true or false or absent"
    assert (str(OPTIMIZER.domain), OPTIMIZER.condition_text) == ("sgd, adam", "always")


def test_a_cycle_of_conditions_is_found_behind_params_that_lead_to_it() -> None:
    assert find_circle({"a": ["b"], "b": ["c"], "c": ["b"], "d": []}) == ["b", "c", "b"]
    assert find_circle({"a": ["b", "unknown"], "b": []}) == []


def test_ends_with_equal_logarithms_have_one_position() -> None:
    low = 1e12
    domain = Range(low, math.nextafter(low, math.inf), "log")
    assert domain.to_unit(low) == 0.0
