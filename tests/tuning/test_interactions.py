"""Pairs that interact: a planted one is found, and chance, also of wild scores and of bent main effects, is not."""

from collections.abc import Callable

import numpy as np
import pytest

from nightune.tuning.analysis.interactions import PLACES, Examined, interactions
from nightune.tuning.search.domains import Choice, Range
from nightune.tuning.search.search_space import Condition, Dimension, SearchSpace
from nightune.tuning.trial import Params, Status, Trial, TrialResult

SPACE = SearchSpace(
    (
        Dimension("rate", Range(1e-4, 1e-1, "log")),
        Dimension("optimizer", Choice(("sgd", "adam"))),
        Dimension("beta", Range(0.0, 1.0), (Condition("optimizer", ("adam",)),)),
        Dimension("size", Range(0.0, 1.0)),
        Dimension("units", Choice(([8], [16], [32]))),
    )
)
SHARES = {"rate": 0.5, "optimizer": 0.3}


def place(params: Params) -> float:
    return float(SPACE.by_name["rate"].domain.under(params).to_unit(params["rate"]))


def bent(params: Params) -> float:
    return 0.4 * (place(params) > 0.6) + 0.2 * (params["optimizer"] == "adam")


def planted(params: Params) -> float:
    return float(-0.8 * (place(params) - (0.25 if params["optimizer"] == "adam" else 0.75)) ** 2)


def examined(score: Callable[[Params], float], seed: int, is_wild: bool = False, trials: int = 60) -> Examined:
    generator, results = np.random.default_rng(seed), []
    for number in range(trials):
        params = SPACE.at({name: generator.random() for name in SPACE.by_name})
        noise = generator.standard_t(2) if is_wild else generator.normal()
        trial = Trial(number, params, 1, f"{number:016x}")
        results.append(TrialResult(trial, Status.COMPLETED, score(params) + 0.05 * float(noise), 1, 1, 1, 1, 1.0))
    return interactions(SPACE, results, float, SHARES, seed=0)


def test_a_planted_pair_is_found_with_the_best_values_of_each_option() -> None:
    found = examined(planted, seed=1).found[0]
    assert (found.first.name, found.second.name) == ("rate", "optimizer")
    assert found.share > 0.3
    assert found.chance < 0.01
    low, middle, high = found.curves
    assert (low <= middle).all()
    assert (middle <= high).all()
    best = [float(PLACES[line.argmax()]) for line in middle]  # of sgd and adam
    assert best == pytest.approx([0.75, 0.25], abs=0.2)


@pytest.mark.parametrize(("score", "is_wild"), [(lambda _: 0.0, False), (lambda _: 0.0, True), (bent, False)])
def test_sweeps_without_interactions_are_silent(score: Callable[[Params], float], is_wild: bool) -> None:
    assert sum(bool(examined(score, seed, is_wild).found) for seed in range(100)) <= 5


def test_few_trials_and_equal_scores_have_no_pairs() -> None:
    assert examined(planted, 0, trials=15).pairs == 0
    assert interactions(SPACE, [], float, {}, 0) == Examined((), 0)
    generator = np.random.default_rng(0)
    points = [SPACE.at({name: generator.random() for name in SPACE.by_name}) for _ in range(60)]
    equal = [
        TrialResult(Trial(n, params, 1, f"{n:016x}"), Status.COMPLETED, 0.5, 1, 1, 1, 1, 1.0)
        for n, params in enumerate(points)
    ]
    assert interactions(SPACE, equal, float, {}, 0).found == ()
