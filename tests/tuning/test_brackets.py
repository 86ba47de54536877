"""The brackets of successive halving and Hyperband, and what a study may request."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightune.tuning.search.search_space import SearchSpace
from nightune.tuning.study.budgets import (
    brackets,
    finished_trainings,
    largest_cost_epochs,
    most_that_begin_alike,
    most_trainings,
    trainings,
    trial_count,
)
from nightune.tuning.study.search_section import SearchSection
from nightune.tuning.trial import Bracket, Rung, Status
from tests.tuning.conftest import Read, Refuse, has_parts, result, study_text, unhurried

NO_SPACE = SearchSpace(())
HYPERBAND = "method = 'hyperband'\nepochs = 81\nreduction_factor = 3\nsmallest_epochs = 1"
HALVING = "method = 'successive_halving'\ntrials = 50\nepochs = 50"


def rungs_of(text: str, read: Read) -> list[list[tuple[int, int]]]:
    found = read(study_text(search=text)).brackets
    return [[(rung.trials, rung.epochs) for rung in bracket.rungs] for bracket in found]


def test_hyperband_of_81_epochs_by_thirds_has_the_brackets_of_the_formula(read: Read) -> None:
    assert rungs_of(HYPERBAND, read) == [
        [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
        [(34, 3), (11, 9), (3, 27), (1, 81)],
        [(15, 9), (5, 27), (1, 81)],
        [(8, 27), (2, 81)],
        [(5, 81)],
    ]


def test_most_trials_that_begin_alike_are_those_of_the_later_rounds_of_auto_and_of_the_first_of_hyperband(
    read: Read,
) -> None:
    rates = "learning_rate.peak = { low = 0.001, high = 0.1 }"
    auto = read(study_text(rates, search="trials = 40\nepochs = 50")).brackets
    assert [(bracket.trials, bracket.rungs[0].epochs) for bracket in auto] == [(8, 6), (16, 3), (16, 3)]
    assert most_that_begin_alike(auto, range(40)) == (3, frozenset(range(8, 40)))
    assert most_that_begin_alike(auto, range(10)) == (6, frozenset(range(8)))
    assert most_that_begin_alike(read(study_text(search=HYPERBAND)).brackets, range(1000)) == (1, frozenset(range(81)))


def test_trial_numbers_continue_from_bracket_to_bracket(read: Read) -> None:
    study = read(study_text(search=HYPERBAND))
    assert [bracket.first for bracket in study.brackets] == [0, 81, 115, 130, 138]
    assert study.trial_count == 143


def test_successive_halving_begins_by_default_at_three_epochs_and_doubles(read: Read) -> None:
    assert rungs_of(HALVING, read) == [[(50, 3), (25, 6), (12, 12), (6, 25), (3, 50)]]
    cost = largest_cost_epochs(read(study_text(search=HALVING)).brackets)
    assert cost == 50 * 3 + 25 * 3 + 12 * 6 + 6 * 13 + 3 * 25


def test_with_few_trials_there_are_fewer_rungs_and_the_first_is_longer(read: Read) -> None:
    few = HALVING.replace("trials = 50", "trials = 4")
    assert rungs_of(few, read) == [[(4, 12), (2, 25), (1, 50)]]


@unhurried
@given(
    st.sampled_from(["successive_halving", "hyperband"]),
    st.integers(2, 5),
    st.integers(1, 5),
    st.integers(0, 300),
    st.integers(0, 300),
)
def test_rungs_shrink_to_the_whole_budget_and_none_is_too_short(
    method: str, factor: int, smallest: int, more_epochs: int, more_trials: int
) -> None:
    trials = factor + more_trials if method == "successive_halving" else None
    search = SearchSection(
        method=method,  # type: ignore[arg-type]
        trials=trials,
        epochs=factor * smallest + more_epochs,
        reduction_factor=factor,
        smallest_epochs=smallest,
    )
    found = brackets(search, NO_SPACE)
    for bracket in found:
        assert bracket.rungs[-1].epochs == search.epochs
        assert smallest <= bracket.rungs[0].epochs
        assert all(rung.trials >= 1 for rung in bracket.rungs)
        for rung, after in zip(bracket.rungs, bracket.rungs[1:], strict=False):
            assert after.trials <= rung.trials / factor
            assert after.epochs >= rung.epochs * factor
    assert trials is None or trial_count(found) == trials


def test_a_search_has_room_for_the_share_of_the_trainings_whose_epochs_it_may_train() -> None:
    three = [Bracket((Rung(8, 2), Rung(4, 4)))] * 3  # 24 epochs and 12 trainings each
    search = SearchSection(method="random", trials=24, epochs=4)
    assert most_trainings(search, three) == 36
    assert most_trainings(search.model_copy(update={"total_epochs": 24}), three) == 12
    assert most_trainings(search.model_copy(update={"total_epochs": 900}), three) == 36


def test_trainings_include_each_rung_that_a_trial_passed() -> None:
    budget = (Bracket((Rung(4, 3), Rung(2, 6))), Bracket((Rung(1, 6),), first=4))
    assert trainings(budget) == 7
    whole = replace(result(0, 1.0), epochs=6)
    halted = replace(result(1, 1.0, Status.NOT_PROMOTED), epochs=3)
    failed = replace(result(4, 1.0, Status.FAILED), epochs=0)
    assert finished_trainings(budget, [whole, halted, failed]) == 2 + 1 + 1


WRONG = {
    "method = 'hyperband'\ntrials = 4\nepochs = 9": "search.trials: 4 … hyperband … 'random'",
    "method = 'successive_halving'\nepochs = 9": "search.trials: missing … successive halving",
    "method = 'successive_halving'\ntrials = 1\nepochs = 9": "search.trials: 1 are too few to drop any "
    "(allowed: 2 or more, the reduction factor)",
    "method = 'hyperband'\nepochs = 5": "search.epochs: 5 … rung of 3 epochs … "
    "(allowed: reduction_factor × smallest_epochs = 6 or more)",
    "method = 'hyperband'\nepochs = 9\nreduction_factor = 1": "search.reduction_factor: 1 is not a whole number from "
    "2 to 10",
    "method = 'hyperband'\nepochs = 9\nreuse = true": "search.reuse: true … rungs … 'random'",
    "method = 'random'\ntrials = 4\nepochs = 9\nsmallest_epochs = 3": "search.smallest_epochs: 3 … rungs … "
    "successive_halving, hyperband",
}


@pytest.mark.parametrize("search", WRONG)
def test_impossible_rungs_are_refused(search: str, refuse: Refuse) -> None:
    (line,) = refuse(study_text(search=search))
    assert has_parts(line, WRONG[search]), line


def test_a_search_without_rungs_keeps_its_original_digest(read: Read) -> None:
    content = read(study_text(search='method = "random"\ntrials = 4\nepochs = 2')).content["search"]
    assert content == {"method": "random", "trials": 4, "epochs": 2, "reuse": False}
    halving = read(study_text(search=HALVING + "\nreduction_factor = 4")).content["search"]
    assert halving["reduction_factor"] == 4
