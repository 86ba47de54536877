"""The survivors of a rung, the maximum cost of a budget, and the leaderboard."""

import math
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightune.tuning.analysis.leaderboard import best, leaderboard, status_counts, varying_params
from nightune.tuning.search.methods import METHODS, Method
from nightune.tuning.study.budgets import BUDGETS, largest_cost_epochs, survivors
from nightune.tuning.trial import Bracket, Rung, Status
from tests.rows import missing_rows
from tests.tuning.conftest import Read, result, study_text, unhurried

OBJECTIVES = st.lists(st.sampled_from([math.nan, math.inf, -math.inf, 0.0, 0.5, 0.5, 1.0]), max_size=8)


@unhurried
@given(OBJECTIVES, st.sampled_from(["minimize", "maximize"]))
def test_nan_never_wins_and_never_survives(objectives: list[float], direction: str) -> None:
    results = [result(number, objective) for number, objective in enumerate(objectives)]
    finite = [objective for objective in objectives if math.isfinite(objective)]
    winner = best(results, direction)
    if finite:
        assert winner is not None
        assert winner.objective == (min(finite) if direction == "minimize" else max(finite))
    else:
        assert winner is None
    kept = survivors(results[::-1], direction)
    assert len(kept) == len(finite)
    assert all(math.isfinite(objectives[each.number]) for each in kept)
    assert kept == [each.trial for each in leaderboard(results, direction)[: len(kept)]]


def test_ties_go_to_the_smaller_number_and_failures_to_the_end() -> None:
    results = [
        result(3, 0.5),
        result(2, 0.1, Status.FAILED),
        result(1, 0.5),
        result(0, math.nan, Status.DIVERGED),
        result(4, 0.9, Status.STOPPED_EARLY),
    ]
    assert [each.trial.number for each in leaderboard(results, "minimize")] == [1, 3, 4, 0, 2]
    assert [each.trial.number for each in leaderboard(results, "maximize")] == [4, 1, 3, 0, 2]


def test_every_search_method_has_a_row_and_a_budget() -> None:
    assert tuple(METHODS) == get_args(Method)
    assert all(bool(row.counted) != bool(row.own_count) for row in METHODS.values())
    without_rounds = [name for name, row in METHODS.items() if row.proposer is None]
    assert missing_rows(without_rounds, BUDGETS, "BUDGETS in tuning/study/budgets.py") == []
    assert set(BUDGETS) == set(without_rounds)


def test_an_unknown_direction_is_refused() -> None:
    with pytest.raises(ValueError, match=r"direction: unknown 'max'.*maximize.*\(known: minimize, maximize\)"):
        leaderboard([], "max")


def test_every_status_is_counted() -> None:
    assert status_counts([result(0, 1.0), result(1, 1.0), result(2, math.nan, Status.FAILED)]) == {
        "completed": 2,
        "stopped_early": 0,
        "not_promoted": 0,
        "diverged": 0,
        "failed": 1,
        "over_limit": 0,
    }


def test_params_of_several_values_vary() -> None:
    results = [result(0, 1.0, a=1, b=2, c=3), result(1, 1.0, a=1, b=3)]
    assert varying_params(results) == ["b"]


def test_a_survivor_costs_only_its_additional_epochs() -> None:
    halving = Bracket((Rung(8, 5), Rung(4, 10), Rung(2, 20)))
    assert largest_cost_epochs([halving, Bracket((Rung(3, 20),))]) == 8 * 5 + 4 * 5 + 2 * 10 + 3 * 20


def test_random_and_grid_are_one_bracket_of_one_rung(read: Read) -> None:
    assert read(study_text()).brackets == (Bracket((Rung(4, 2),)),)
    grid = read(study_text('optimizer = ["sgd", "adam"]\nnesterov = [true, false]', search="method='grid'\nepochs=5"))
    assert grid.brackets == (Bracket((Rung(3, 5),)),)
