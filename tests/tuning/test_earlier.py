"""What earlier sweeps tell a search: their best points, and whether their trials predict what was found since."""

import math

import numpy as np
import pytest

from nightune.tuning.search.domains import Choice, Range
from nightune.tuning.search.earlier import BEST, agreement, as_earlier, best_points, point_of
from nightune.tuning.search.gaussian_process import gaussian_process
from nightune.tuning.search.observations import Observation
from nightune.tuning.search.samplers import random
from nightune.tuning.search.search_space import Condition, Dimension, SearchSpace
from nightune.tuning.trial import Params, Status, Trial, TrialResult

SPACE = SearchSpace(
    (
        Dimension("optimizer", Choice(("sgd", "adam"))),
        Dimension("rate", Range(1e-4, 1.0, "log")),
        Dimension("momentum", Range(0.0, 0.9), (Condition("optimizer", ("sgd",)),)),
        Dimension("units", Choice((32,))),
    )
)


def loss_at(point: Params) -> float:
    return abs(math.log10(float(str(point["rate"]))) + 2) + (0.5 if point["optimizer"] == "sgd" else 0.0)


def result(number: int, params: dict, objective: float, status: Status = Status.COMPLETED) -> TrialResult:  # type: ignore[type-arg]
    return TrialResult(Trial(number, params, 0, str(number)), status, objective, 1, 5, 5, 5, 1.0)


def observations(count: int, seed: int, loss=loss_at) -> list[Observation]:  # type: ignore[no-untyped-def]
    generator = np.random.default_rng(seed)
    points = random(SPACE, count, [], [seed])
    return [
        Observation(number, point, {5: loss(point) + 0.02 * generator.standard_normal()})
        for number, point in enumerate(points)
    ]


def test_a_point_is_what_the_space_searches_of_the_params() -> None:
    params = {"optimizer": "adam", "rate": 0.01, "momentum": 0.5, "units": 32, "epochs": 3}
    assert point_of(SPACE, params) == {"optimizer": "adam", "rate": 0.01, "units": 32}


@pytest.mark.parametrize(
    "params",
    [
        {"optimizer": "adam", "rate": 2.0},
        {"optimizer": "lion", "rate": 0.01},
        {"optimizer": "sgd", "rate": 0.01},  # without its momentum
    ],
)
def test_params_outside_the_space_have_no_point(params: Params) -> None:
    assert point_of(SPACE, params) is None


def test_the_best_points_come_after_the_champions_each_once() -> None:
    results = [result(each, {"optimizer": "adam", "rate": 0.001 * (each + 1)}, each / 10) for each in range(9)]
    results.append(result(9, {"optimizer": "adam", "rate": 0.5}, -1.0, Status.FAILED))
    results.append(result(10, {"optimizer": "adam", "rate": 0.001}, 0.01))  # the same point again
    champion = {"optimizer": "adam", "rate": 0.002}
    found = best_points(SPACE, results, "minimize", [champion])
    assert [each["rate"] for each in found] == pytest.approx([0.002, 0.001, 0.003, 0.004, 0.005, 0.006])
    assert len(best_points(SPACE, results, "maximize")) == BEST
    assert best_points(SPACE, results, "maximize")[0]["rate"] == pytest.approx(0.009)


def test_trials_of_the_same_objective_agree_and_know_its_shift() -> None:
    found = agreement(SPACE, observations(40, 1), observations(16, 2, lambda point: loss_at(point) + 3.0))
    assert found is not None
    assert found.is_enough
    assert found.shift == pytest.approx(3.0, abs=0.4)


def test_trials_of_another_objective_do_not_agree() -> None:
    generator = np.random.default_rng(5)
    others = (
        agreement(SPACE, observations(40, seed), observations(16, 50 + seed, lambda _: float(generator.random())))
        for seed in range(5)
    )
    opposite = agreement(SPACE, observations(40, 1), observations(16, 2, lambda point: -loss_at(point)))
    assert opposite is not None
    assert not opposite.is_enough
    assert sum(each is not None and each.is_enough for each in others) <= 1


def test_few_trials_say_nothing_of_agreement() -> None:
    assert agreement(SPACE, observations(40, 1), observations(4, 2)) is None
    assert agreement(SPACE, observations(4, 1), observations(16, 2)) is None


def test_earlier_trials_have_numbers_below_those_of_the_sweep() -> None:
    kept = as_earlier(observations(3, 1), 1.5)
    assert [each.number for each in kept] == [-3, -2, -1]
    assert kept[0].losses[5] == pytest.approx(observations(3, 1)[0].losses[5] + 1.5)


def test_a_model_that_learns_from_an_earlier_night_proposes_better_points_at_once() -> None:
    few, earlier = observations(4, 3), as_earlier(observations(60, 7))
    cold = gaussian_process(SPACE, few, [], 8, [1])
    warm = gaussian_process(SPACE, [*earlier, *few], [], 8, [1])
    assert np.mean([loss_at(each) for each in warm]) < np.mean([loss_at(each) for each in cold])


def test_agreement_compares_at_one_rung() -> None:
    def halted(count: int, seed: int) -> list[Observation]:
        return [Observation(each.number, each.point, {3: each.losses[5] + 9.0}) for each in observations(count, seed)]

    ended = [
        Observation(100 + each.number, each.point, {3: each.losses[5] + 9.0, 5: each.losses[5]})
        for each in observations(9, 6)
    ]
    found = agreement(SPACE, [*halted(40, 1), *ended], halted(16, 2))
    assert found is not None
    assert found.is_enough
    assert abs(found.shift) < 1.0  # not the nine between the rungs


def test_a_training_whose_values_changed_is_no_point() -> None:
    params = {"optimizer": "adam", "rate": 0.1, "units": 32}
    assert point_of(SPACE, params | {"training.changes": "none"}) == params
    assert point_of(SPACE, params | {"training.changes": {"2": {"rate": 0.2}}}) is None
