"""The confirmation of a replayed search: what fits its budget, who is a finalist, and who wins."""

import math

import pytest

from nightune.tuning.search.domains import Range
from nightune.tuning.search.search_space import Dimension, SearchSpace
from nightune.tuning.simulator import (
    FIRST_REPLICATE,
    Bank,
    Leader,
    Training,
    confirmed_best,
    finalists,
    within_budget,
)
from nightune.tuning.trial import Params

SPACE = SearchSpace((Dimension("width", Range(0.0, 9.0)),))


def training(trial: int, begin: int, end: int, *curve: float) -> Training:
    return Training(trial, {"width": float(trial)}, begin, end, curve)


def test_trainings_end_where_those_of_the_confirmation_no_longer_fit() -> None:
    four = [training(number, 0, 5) for number in range(4)]
    trials = [each.trial for each in within_budget(four, 20, lambda trials: 5)]
    assert trials == [0, 1, 2]
    assert not list(within_budget(four, 9, lambda trials: 5))


def test_a_confirmation_that_grows_with_the_trials_ends_the_search_before_the_one_that_it_grows_with() -> None:
    halted = [training(0, 0, 2), training(1, 0, 2), training(0, 2, 4), training(2, 0, 2)]
    kept = list(within_budget(halted, 12, lambda trials: 6 if trials < 3 else 9))
    assert kept == halted[:3]


def test_finalists_are_the_best_trials_as_they_ended_with_ties_by_number() -> None:
    trainings = [
        training(0, 0, 2, 0.5, 0.5),
        training(1, 0, 2, 0.7, 0.6),
        training(2, 0, 2, math.nan, math.nan),
        training(3, 0, 2, 0.4, 0.9),
        training(1, 2, 4, 0.7, 0.6, 0.5, 0.9),
    ]
    found = finalists(trainings, 5, "minimize")
    assert [(each.trial, each.objective) for each in found] == [(3, 0.4), (0, 0.5), (1, 0.5)]
    assert [each.trial for each in finalists(trainings, 2, "maximize")] == [1, 3]


@pytest.mark.parametrize(("direction", "sign"), [("minimize", 1.0), ("maximize", -1.0)])
def test_replicates_with_luck_of_their_own_choose_the_winner(direction: str, sign: float) -> None:
    asked: list[int] = []

    def curve(point: Params, trial: int) -> list[float]:
        asked.append(trial)
        return [sign * (float(str(point["width"])) + 0.1 * (trial % 2))]

    lucky, good, lost = (Leader(place, {"width": width}, 0.0) for place, width in enumerate((3.0, 2.0, math.nan)))
    winner = confirmed_best([lucky, good, lost], Bank(SPACE, direction, curve), 2)
    assert winner is not None
    assert winner.trial == good.trial
    assert winner.objective == pytest.approx(sign * 2.05)
    assert len(set(asked)) == len(asked) == 6
    assert min(asked) >= FIRST_REPLICATE
    first = set(asked)
    confirmed_best([lucky, good], Bank(SPACE, direction, curve), 2, draw=1)
    assert len(first.union(asked)) == len(asked) == 10
    assert confirmed_best([lost], Bank(SPACE, direction, curve), 2) is None
