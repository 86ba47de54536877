"""Importance of dimensions: shares of variance compared with functions of known shares, and the ends of ranges."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import qmc

from nightune.tuning.analysis.fanova import TREES, explained_share, variance_shares
from nightune.tuning.analysis.importance import TOP_SHARE, WhatMattered, end_hits, what_mattered
from nightune.tuning.search.domains import Choice, Range
from nightune.tuning.search.search_space import Condition, Dimension, SearchSpace
from nightune.tuning.trial import Params, Status, TrialResult
from tests.tuning.conftest import result

RATES = SearchSpace((Dimension("rate", Range(1e-4, 1.0, "log")), Dimension("size", Range(1, 9, integer=True))))


def sampled(arguments: int, function: Callable[..., np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    places = qmc.Sobol(arguments, rng=1).random(2048)
    return places, function(*places.T)


def ishigami(*units: np.ndarray) -> np.ndarray:
    """Ishigami, Homma (1990) with a = 7, b = 0.1: its third argument has an effect only together with the first."""
    x, y, z = (math.pi * (2 * unit - 1) for unit in units)
    return np.sin(x) + 7 * np.sin(y) ** 2 + 0.1 * z**4 * np.sin(x)


@pytest.mark.slow
def test_importance_shares_match_functions_of_known_shares() -> None:
    linear = variance_shares(*sampled(2, lambda one, other: one + 0.1 * other), seed=0)
    assert linear is not None
    assert linear.shares == pytest.approx((1 / 1.01, 0.01 / 1.01), abs=0.03)
    wavy = variance_shares(*sampled(3, ishigami), seed=0)
    assert wavy is not None
    assert wavy.shares == pytest.approx((0.3139, 0.4424, 0.0), abs=0.03)
    assert linear.explained > 0.99
    assert wavy.explained > 0.8


@pytest.mark.parametrize(("rows", "arguments", "digits"), [(24, 10, 4), (60, 1, 8), (11, 5, 1)])
def test_the_explained_share_is_the_out_of_bag_score_of_a_forest(rows: int, arguments: int, digits: int) -> None:
    from sklearn.ensemble import RandomForestRegressor

    generator = np.random.default_rng(rows)
    places = generator.random((rows, arguments))
    values = np.round(places[:, 0] + 0.1 * generator.normal(size=rows), digits)
    forest = RandomForestRegressor(TREES, oob_score=True, random_state=5).fit(places, values)
    assert explained_share(places, values, 5) == forest.oob_score_


@pytest.mark.parametrize("values", [np.ones(12), 1e-200 * np.arange(12.0), np.array([1e-170, *np.zeros(11)])])
def test_the_explained_share_of_values_without_a_variance_is_that_of_a_forest(values: np.ndarray) -> None:
    from sklearn.ensemble import RandomForestRegressor

    places = np.random.default_rng(2).random((12, 2))
    forest = RandomForestRegressor(TREES, oob_score=True, random_state=5).fit(places, values)
    assert explained_share(places, values, 5) == forest.oob_score_


def test_pure_noise_explains_no_variance() -> None:
    generator = np.random.default_rng(3)
    found = variance_shares(generator.random((60, 4)), generator.normal(size=60), seed=0)
    assert found is not None
    assert found.explained < 0.1


def test_a_conditional_dimension_has_its_share_within_its_trials_and_its_switch_in_all() -> None:
    space = SearchSpace(
        (
            Dimension("optimizer", Choice(("sgd", "adam"))),
            Dimension("momentum", Range(0.0, 1.0), (Condition("optimizer", ("sgd",)),)),
            Dimension("rate", Range(0.0, 1.0)),
        )
    )

    def objective(params: Params) -> float:
        momentum, rate = params.get("momentum", 0.0), params["rate"]
        assert isinstance(momentum, float)
        assert isinstance(rate, float)
        return momentum + 0.05 * rate if params["optimizer"] == "sgd" else 3.0 + 0.05 * rate

    found = {each.name: each for each in judged(space, objective, trials=200).dimensions}
    assert list(found) == ["optimizer", "rate", "momentum"]
    assert found["momentum"].trials < found["rate"].trials == found["optimizer"].trials == 200
    assert found["momentum"].share == pytest.approx(1 / (1 + 0.05**2), abs=0.05)
    # Var of the switch is (3 − ½)²/4; that of the conditional dimension is half the variance of a uniform value.
    assert found["optimizer"].share == pytest.approx(1.5625 / (1.5625 + 1 / 24), abs=0.05)
    assert found["rate"].share == pytest.approx(0.0, abs=0.03)


def test_few_trials_give_no_shares() -> None:
    found = judged(RATES, lambda params: 0.1, trials=9)
    assert [each.share for each in found.dimensions] == [None, None]
    nothing = what_mattered(RATES, [], "minimize", seed=0)
    assert [each.trials for each in nothing.dimensions] == [0, 0]


def test_an_outlier_or_a_failed_trial_does_not_explain_everything() -> None:
    results = trials_of(RATES, lambda params: math.log10(float(params["rate"])), 40)  # type: ignore[arg-type]
    astray = [result(40, 1e9, rate=0.5, size=1), result(41, math.nan, Status.DIVERGED, rate=0.9, size=9)]
    shares = {
        each.name: each.share for each in what_mattered(RATES, [*results, *astray], "minimize", seed=0).dimensions
    }
    assert shares["rate"] == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize(("sign", "end", "value"), [(1, "low", 1e-4), (-1, "high", 1.0)])
def test_best_trials_at_the_end_of_a_range_give_a_warning(sign: int, end: str, value: float) -> None:
    found = judged(RATES, lambda params: sign * math.log10(float(params["rate"])), trials=40)  # type: ignore[arg-type]
    assert [(edge.name, edge.end, edge.value, edge.best) for edge in found.edges] == [("rate", end, value, 10)]


def test_a_search_that_proposes_points_at_an_end_is_no_warning() -> None:
    crowded = [result(n, 0.1 * (n % 7), rate=0.9 if n % 8 else 1e-3, size=1) for n in range(40)]
    assert what_mattered(RATES, crowded, "minimize", seed=0).edges == ()


@pytest.mark.parametrize(("count", "there", "drawn", "hits"), [(40, 10, 10, 7), (12, 11, 3, 2), (8, 2, 2, 2)])
def test_the_chance_of_trials_at_an_end_is_hypergeometric(count: int, there: int, drawn: int, hits: int) -> None:
    from scipy.stats import hypergeom

    places = [0.95] * hits + [0.5] * (drawn - hits) + [0.95] * (there - hits)
    places += [0.5] * (count - len(places))
    ranked = [result(n, float(n), rate=10 ** (4 * place - 4), size=1) for n, place in enumerate(places)]
    assert round(count * TOP_SHARE) == drawn
    (found,) = [each for each in end_hits("rate", RATES.by_name["rate"].domain, ranked) if each.end == "high"]
    assert (found.trials, found.best) == (hits, drawn)
    assert found.chance == pytest.approx(hypergeom.sf(hits - 1, count, there, drawn))


def test_best_trials_in_the_middle_of_a_range_give_no_warning() -> None:
    found = judged(RATES, lambda params: abs(math.log10(float(params["rate"])) + 2), trials=40)  # type: ignore[arg-type]
    assert found.edges == ()


def judged(space: SearchSpace, objective: Callable[[Params], float], trials: int) -> WhatMattered:
    return what_mattered(space, trials_of(space, objective, trials), "minimize", seed=0)


def trials_of(space: SearchSpace, objective: Callable[[Params], float], count: int) -> list[TrialResult]:
    """Trials drawn at random, with the objective that a function of their params gives."""
    generator = np.random.default_rng(5)
    results = []
    for number in range(count):
        params = space.at({name: generator.random() for name in space.by_name})
        results.append(result(number, objective(params), **params))  # type: ignore[arg-type]
    return results
