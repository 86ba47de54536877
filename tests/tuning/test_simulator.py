"""Searches replayed on curves that are made up here: what they would train, and who would lead."""

import math
from itertools import islice

import pytest

from nightune.tuning.search.domains import Choice, Range
from nightune.tuning.search.samplers import random
from nightune.tuning.search.search_space import Dimension, SearchSpace
from nightune.tuning.simulator import Bank, Leader, leaders, simulate
from nightune.tuning.study.search_section import SearchSection
from nightune.tuning.trial import Params

SPACE = SearchSpace(
    (Dimension("rate", Range(1e-4, 1.0, "log")), Dimension("width", Range(0.0, 1.0)), Dimension("kind", Choice("ab")))
)


def accuracy(point: Params, trial: int) -> list[float]:
    """Rises with the epochs to a height that is the greatest at a rate of 1e-2 and a width of 1."""
    away = abs(math.log10(float(str(point["rate"]))) + 2) + (1 - float(str(point["width"]))) + (point["kind"] == "b")
    return [math.nan, *((1 - 0.2 * away) * (1 - 0.7**epoch) for epoch in range(2, 9))]


BANK = Bank(SPACE, "maximize", accuracy)


def search(**settings: object) -> SearchSection:
    return SearchSection.model_validate({"method": "random", "epochs": 8, **settings})


def test_a_random_search_trains_each_trial_in_full_and_then_the_next_sweep_does() -> None:
    trainings = list(islice(simulate(search(trials=3), BANK, 5), 5))
    assert [(each.trial, each.begin, each.end) for each in trainings] == [(number, 0, 8) for number in range(5)]
    drawn = [*random(SPACE, 3, [], (5, 0)), *random(SPACE, 2, [], (5, 1))]
    assert [each.point for each in trainings] == drawn


def test_a_rung_adds_its_epochs_and_continues_the_best() -> None:
    settings = {"method": "successive_halving", "trials": 4, "smallest_epochs": 2}
    trainings = list(islice(simulate(search(**settings), BANK, 5), 7))
    assert [(each.begin, each.end) for each in trainings] == [(0, 2)] * 4 + [(2, 4)] * 2 + [(4, 8)]
    heights = {each.trial: accuracy(each.point, 0)[-1] for each in trainings}
    best = sorted(heights, key=lambda number: -heights[number])
    assert [each.trial for each in trainings[4:]] == [*best[:2], best[0]]


def test_the_leader_at_an_epoch_counts_a_training_as_far_as_it_has_come() -> None:
    trainings = list(islice(simulate(search(trials=9), BANK, 5), 9))
    heights = [accuracy(each.point, 0) for each in trainings]
    first, after_two, within = leaders(iter(trainings), (1, 16, 21), "maximize")
    assert first is None  # the first epoch is not finite
    assert after_two is not None
    assert within is not None
    assert after_two.objective == max(heights[0][-1], heights[1][-1])
    assert within.objective == max(heights[0][-1], heights[1][-1], heights[2][4])
    assert leaders(iter(trainings), (72, 73), "maximize")[0] is not None


def test_curves_that_end_early_cost_only_their_epochs_and_without_any_a_simulation_ends() -> None:
    short = Bank(SPACE, "minimize", lambda point, trial: [2.0, 1.0 + trial])
    found = leaders(
        simulate(search(method="successive_halving", trials=4, smallest_epochs=2), short, 0), (8, 9), "minimize"
    )
    assert [each and each.objective for each in found] == [1.0, 1.0]
    empty = Bank(SPACE, "minimize", lambda point, trial: [])
    assert leaders(simulate(search(trials=4), empty, 0), (8,), "minimize") == []


@pytest.mark.slow
@pytest.mark.parametrize("rungs", [{}, {"smallest_epochs": 2}])
def test_a_model_is_ahead_of_chance_with_and_without_rungs(rungs: dict[str, object]) -> None:
    def regret(leader: Leader | None) -> float:
        assert leader is not None
        return 1 - 0.7**8 - accuracy(leader.point, 0)[-1]

    marks = (384,)
    modelled = [
        leaders(simulate(search(method="gp", trials=96, **rungs), BANK, seed), marks, "maximize")[0]
        for seed in range(2)
    ]
    drawn = [leaders(simulate(search(trials=96), BANK, seed), marks, "maximize")[0] for seed in range(2)]
    assert sum(map(regret, modelled)) < 0.5 * sum(map(regret, drawn))


@pytest.mark.parametrize("method", ["random", "gp", "auto"])
def test_a_sweep_of_recorded_points_begins_with_the_first_ones_and_trains_each_once(method: str) -> None:
    points = tuple({"rate": place / 20} for place in range(20))
    space = SearchSpace((Dimension("rate", Range(0.0, 1.0)),))
    bank = Bank(space, "minimize", lambda point, trial: [float(str(point["rate"]))], points)
    search = SearchSection.model_validate({"method": method, "trials": 20, "epochs": 1})
    first = [points[place] for place in (7, 3, 11)]
    trained = [each.point for each in islice(simulate(search, bank, 0, first), 20)]
    assert trained[:3] == first
    assert sorted(float(str(each["rate"])) for each in trained) == [place / 20 for place in range(20)]
