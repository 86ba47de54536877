"""The values of a dimension that are better: options and thirds of ranges by their medians."""

import math
from collections.abc import Callable

import pytest

from nightune.tuning.analysis.better_values import better_values
from nightune.tuning.analysis.importance import what_mattered
from nightune.tuning.search.domains import Cases, Choice, Range
from nightune.tuning.search.search_space import Dimension, SearchSpace
from nightune.tuning.trial import Params, Status
from tests.tuning.conftest import result

RATE = Range(1e-4, 1e-1, "log")
GOOD, BAD = {"rate": 0.05}, {"rate": 2e-4}


@pytest.mark.parametrize(("direction", "expected"), [("maximize", "adam over sgd"), ("minimize", "sgd over adam")])
def test_the_better_option_is_named_with_the_worst(direction: str, expected: str) -> None:
    scores = {"adam": 0.9, "rmsprop": 0.8, "sgd": 0.5}
    tried = [({"optimizer": name}, score + 0.01 * n) for name, score in scores.items() for n in range(3)]
    assert better_values("optimizer", Choice(tuple(scores)), tried, direction) == expected


def test_the_better_third_of_a_range_is_named_by_its_ends() -> None:
    tried = [(params, score) for params, score in ((GOOD, 0.1), (BAD, 0.9)) for _ in range(3)]
    assert better_values("rate", RATE, tried, "minimize") == "0.01 to 0.1"
    assert better_values("rate", RATE, tried, "maximize") == "0.0001 to 0.001"
    assert better_values("layers", Range(1, 9, integer=True), whole_numbers(lambda n: n), "minimize") == "1 to 4"


def whole_numbers(score: Callable[[int], float]) -> list[tuple[Params, float]]:
    return [({"layers": n}, score(n)) for n in range(1, 10)]


def test_a_range_that_depends_on_another_param_is_named_by_its_third() -> None:
    cases = Cases("optimizer", ((("adam",), RATE), (("sgd",), Range(1e-2, 10.0, "log"))))
    tried = [({"optimizer": name, "rate": rate}, rate) for name, rate in (("adam", 0.09), ("sgd", 9.0)) for _ in "ab"]
    tried += [({"optimizer": name, "rate": rate}, 20) for name, rate in (("adam", 2e-4), ("sgd", 0.02)) for _ in "ab"]
    assert better_values("rate", cases, tried, "minimize") == "its highest third"


@pytest.mark.parametrize("tried", [[], [(GOOD, 0.1)], [(GOOD, 0.1), (BAD, 0.2)], [(GOOD, 1.0)] * 3 + [(BAD, 1.0)] * 3])
def test_too_few_or_equal_scores_make_nothing_better(tried: list[tuple[Params, float]]) -> None:
    assert better_values("rate", RATE, tried, "minimize") == ""


def test_only_what_mattered_has_better_values() -> None:
    space = SearchSpace((Dimension("rate", RATE), Dimension("idle", Choice(("a", "b")))))
    results = []
    for n in range(60):
        params = space.at({"rate": (n * 0.618) % 1, "idle": (n * 0.414) % 1})
        results.append(result(n, math.log(float(params["rate"])), **params))  # type: ignore[arg-type]
    results.append(result(60, math.nan, Status.FAILED, rate=0.1, idle="a"))  # type: ignore[arg-type]
    found = {each.name: each.better for each in what_mattered(space, results, "minimize", seed=0).dimensions}
    assert found == {"rate": "0.0001 to 0.001", "idle": ""}
