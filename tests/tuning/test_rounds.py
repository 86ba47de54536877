"""Rounds of a model's search: their brackets, their points, and what can be extended."""

import pytest

from nightune.tuning.search.guidance import NO_GUIDANCE, Guidance
from nightune.tuning.search.observations import Observation
from nightune.tuning.search.samplers import random
from nightune.tuning.study.budgets import can_extend, largest_cost_epochs
from nightune.tuning.study.rounds import bracket_points, is_proposed
from nightune.tuning.study.study import Study
from nightune.tuning.trial import Bracket, Params, Rung
from tests.tuning.conftest import Read, Refuse, has_parts, study_text

SPACE = 'learning_rate.peak = { low = 1e-4, high = 0.1, scale = "log" }\nbatch_size.size = { low = 8, high = 64 }'
GP = "method = 'gp'\ntrials = 40\nepochs = 12"


def test_rounds_have_sixteen_trials_and_the_last_what_is_left(read: Read) -> None:
    study = read(study_text(SPACE, search=GP))
    assert study.brackets == (Bracket((Rung(16, 12),)), Bracket((Rung(16, 12),), 16), Bracket((Rung(8, 12),), 32))
    assert study.trial_count == 40


def test_a_model_proposes_from_the_ninth_trial_on_where_the_first_round_is_the_portfolios(read: Read) -> None:
    study = read(study_text(SPACE, search=f"{GP}\nstart = 'portfolio'"))
    assert [(each.first, each.trials) for each in study.brackets] == [(0, 8), (8, 16), (24, 16)]
    few = read(study_text(SPACE, search=f"{GP}\nstart = 'portfolio'".replace("40", "5")))
    assert [each.trials for each in few.brackets] == [5]


def test_a_first_rung_gives_each_round_rungs_as_successive_halving_has_them(read: Read) -> None:
    study = read(study_text(SPACE, search=f"{GP}\nsmallest_epochs = 3"))
    whole, last = (Rung(16, 3), Rung(8, 6), Rung(4, 12)), (Rung(8, 3), Rung(4, 6), Rung(2, 12))
    assert study.brackets == (Bracket(whole), Bracket(whole, 16), Bracket(last, 32))
    halving = GP.replace("'gp'", "'successive_halving'").replace("40", "16")
    assert study.brackets[:1] == read(study_text(SPACE, search=halving)).brackets
    assert largest_cost_epochs(study.brackets[:1]) == 16 * 3 + 8 * 3 + 4 * 6


def test_the_first_round_is_that_of_a_random_search_and_the_others_follow_results_by_number(read: Read) -> None:
    study = read(study_text(SPACE, search=GP))
    first = study.points(study.brackets[0], [], 0)
    assert first == random(study.space, 16, [], (0, 0))
    history = [Observation(number, point, {12: float(number % 7)}) for number, point in enumerate(first)]
    second = study.points(study.brackets[1], history, 0)
    assert second == study.points(study.brackets[1], history[::-1], 0)
    assert second != study.points(study.brackets[1], history, 1)
    later = [Observation(16 + number, point, {12: -1.0}) for number, point in enumerate(second)]
    assert second == study.points(study.brackets[1], [*history, *later], 0)  # of the brackets before only
    assert study.points(study.brackets[1], history, 0, second[:5]) == second


def test_a_round_prefers_what_shares_a_program_with_trials_before(read: Read) -> None:
    study = read(study_text(SPACE, search=GP))
    first = study.points(study.brackets[0], [], 0)
    history = [Observation(number, point, {12: float(number % 7)}) for number, point in enumerate(first)]

    def size(point: Params) -> str:
        return str(point["batch_size.size"])

    known = set(map(size, first))
    plain, few = (
        study.points(study.brackets[1], history, 0, (), each) for each in (NO_GUIDANCE, Guidance(structure=size))
    )
    assert len(set(map(size, few)) - known) < len(set(map(size, plain)) - known)
    assert few == study.points(study.brackets[1], history[::-1], 0, few[:5], Guidance(structure=size))


def test_what_was_proposed_is_kept_whatever_the_results_are_now(read: Read) -> None:
    study = read(study_text(SPACE, search=GP))
    kept = random(study.space, 16, [], (5, 5))
    assert study.points(study.brackets[1], [], 0, kept) == kept
    assert not is_proposed(study.search, study.brackets[0])
    first = bracket_points(study.search, study.space, study.brackets[0], [], (0, 0), kept[:5])
    assert first == [*kept[:5], *random(study.space, 16, [], (0, 0))[5:]]


def test_a_space_of_few_points_has_each_once(read: Read) -> None:
    study = read(study_text("batch_size.size = { low = 1, high = 20 }", search=GP))
    assert study.trial_count == 20
    first = study.points(study.brackets[0], [], 0)
    history = [Observation(number, point, {12: float(number)}) for number, point in enumerate(first)]
    second = study.points(study.brackets[1], history, 0)
    assert sorted(str(point["batch_size.size"]) for point in [*first, *second]) == sorted(map(str, range(1, 21)))


def longer(study: Study, trials: int) -> tuple[Bracket, ...]:
    return study.with_trials(trials).brackets


def extended(study: Study, *lengths: int) -> tuple[Bracket, ...]:
    return longer(study.model_copy(update={"earlier_lengths": lengths[:-1]}), lengths[-1])


def test_rounds_of_full_trainings_are_filled_up_and_those_with_rungs_stay_as_they_are(read: Read) -> None:
    full = read(study_text(SPACE, search=GP))
    assert can_extend(longer(full, 20), longer(full, 60))
    assert not can_extend(longer(full, 40), longer(full, 20))
    assert extended(full, 20, 60) == longer(full, 60)
    rungs = read(study_text(SPACE, search=f"{GP}\nsmallest_epochs = 3"))
    assert can_extend(longer(rungs, 32), longer(rungs, 40))
    assert not can_extend(longer(rungs, 40), longer(rungs, 64))
    assert can_extend(longer(rungs, 40), extended(rungs, 40, 64))
    assert [(each.first, each.trials) for each in extended(rungs, 40, 64)] == [
        (0, 16),
        (16, 16),
        (32, 8),
        (40, 16),
        (56, 8),
    ]
    flat = read(study_text(SPACE))
    assert can_extend(longer(flat, 4), longer(flat, 9))


AUTO = "method = 'auto'\ntrials = 40\nepochs = 12"


@pytest.mark.parametrize("lengths", [(5, 30), (8, 24, 40), (24, 30, 31, 60), (30, 30, 30), (60, 30)])
def test_a_sweep_with_rungs_keeps_its_rounds_however_often_it_is_extended(lengths: tuple[int, ...], read: Read) -> None:
    study = read(study_text(SPACE, search=AUTO))
    for count in range(1, len(lengths)):
        before, after = extended(study, *lengths[:count]), extended(study, *lengths[: count + 1])
        assert can_extend(before, after) == (lengths[count] >= lengths[count - 1])
        assert sum(each.trials for each in after) == lengths[count]
        assert [each.first for each in after] == [
            sum(bracket.trials for bracket in after[:n]) for n in range(len(after))
        ]
    assert extended(study, 8, 24, 40) == extended(study, 40)


def test_a_round_of_one_rung_is_filled_up_as_far_as_it_stays_one(read: Read) -> None:
    study = read(study_text(SPACE, search=f"{AUTO.replace('12', '36')}\nreduction_factor = 3"))
    two = extended(study, 25, 26)
    assert two == longer(study, 26) == (*longer(study, 24), Bracket((Rung(2, 36),), 24))  # as earlier versions had it
    assert [(each.first, each.trials) for each in extended(study, 25, 26, 40)] == [(0, 8), (8, 16), (24, 2), (26, 14)]
    assert extended(study, 1, 2) == (Bracket((Rung(2, 36),)),)


WRONG = {
    "method = 'gp'\nepochs = 12": "search.trials: missing … Gaussian process",
    f"{GP}\nreduction_factor = 3": "search.reduction_factor: 3 … smallest_epochs = 3",
    f"{GP}\nsmallest_epochs = 7": "search.epochs: 12 are too few for a first rung of 7 epochs",
    f"{GP}\nsmallest_epochs = 3\nreuse = true": "search.reuse: true … remove smallest_epochs",
}


@pytest.mark.parametrize("search", WRONG)
def test_impossible_rounds_are_refused(search: str, refuse: Refuse) -> None:
    (line,) = refuse(study_text(search=search))
    assert has_parts(line, WRONG[search]), line


def test_the_remedies_of_refused_rounds_work(read: Read) -> None:
    assert read(study_text(search=f"{GP}\nreduction_factor = 3\nsmallest_epochs = 3")).search.has_rungs
    assert not read(study_text(search=f"{GP}\nreuse = true")).search.has_rungs
