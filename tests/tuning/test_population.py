"""Population-based training: which members are replaced, by whose continuation, and with which values."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from nightune.tuning.search.domains import Cases, Choice, Range
from nightune.tuning.search.population import Member, NewMember, Rules, changes_of, next_members, values_of
from nightune.tuning.search.samplers import random, random_point
from nightune.tuning.search.search_space import Condition, Dimension, SearchSpace
from nightune.tuning.study.budgets import finished_trainings, largest_cost_epochs, trainings
from nightune.tuning.trial import Bracket, Rung
from tests.tuning.conftest import Read, Refuse, result, study_text

SPACE = SearchSpace(
    (
        Dimension("optimizer", Choice(("sgd", "adam"))),
        Dimension("learning_rate.peak", Range(1e-4, 1e-1, "log")),
        Dimension("model.dropout", Choice((0.0, 0.1, 0.2, 0.4))),
        Dimension("one_minus_momentum", Range(0.01, 1.0), (Condition("optimizer", ("sgd",)),)),
        Dimension("batch_size.size", Choice((8, 16))),
    )
)
SEED = (7, 0)
RULES = Rules(8, truncation=0.25)


def members(losses: Sequence[float] = (5, 1, 8, 2, 7, 3, 4, 6)) -> list[Member]:
    points = random(SPACE, len(losses), [], SEED)
    return [Member(number, points[number], loss) for number, loss in enumerate(losses)]


def chosen(given: Sequence[Member], rules: Rules = RULES, seed: Sequence[int] = SEED) -> list[NewMember]:
    return next_members(SPACE, given, rules, 4, 8, seed)


def test_the_worst_continue_the_best_with_other_values_from_the_next_epoch_on() -> None:
    given, losses = members(), {1: 1, 3: 2}
    found = chosen(given)
    assert [each.replaced for each in found] == [2, 4]
    assert {each.parent for each in found} <= {1, 3}
    assert [each.replaced_loss for each in found] == [8, 7]
    assert [each.parent_loss for each in found] == [losses[each.parent or 0] for each in found]
    for each in found:
        parent = given[each.parent or 0].point
        assert {name: value for name, value in each.point.items() if name != "training.changes"} == parent
        assert list(changes_of(each.point)) == ["5"]
    assert found == chosen(given)
    assert found != chosen(given, seed=(8, 0))


def test_the_draws_of_a_member_do_not_depend_on_the_losses_of_members_that_stay() -> None:
    given = members()
    others = [
        each if each.number in (1, 2, 3, 4) else Member(each.number, each.point, each.loss + 0.01) for each in given
    ]
    assert chosen(others) == chosen(given)


def test_values_are_multiplied_or_the_next_option_and_stay_in_the_space() -> None:
    rules = Rules(8, 0.25, (0.5, 2.0), resample_probability=0.0)
    space = {each.name: each.domain for each in SPACE.dimensions}
    for word in range(60):
        given = members()
        for each in chosen(given, rules, (word, 0)):
            parent, values = given[each.parent or 0].point, changes_of(each.point)["5"]
            rate, dropout = parent["learning_rate.peak"], parent["model.dropout"]
            assert values["learning_rate.peak"] in [
                pytest.approx(min(max(f * rate, 1e-4), 1e-1), 1e-5) for f in (0.5, 2)
            ]
            options = [0.1, 0.2, 0.4]
            at = options.index(dropout) if dropout else None
            near = {0.0} if at is None else {options[max(0, at - 1)], options[min(2, at + 1)]}
            assert values["model.dropout"] in near
            assert all(space[name].contains(value) for name, value in values.items())
            assert ("one_minus_momentum" in values) == (parent["optimizer"] == "sgd")
            assert "batch_size.size" not in values


def test_values_are_drawn_anew_with_their_probability() -> None:
    rules = Rules(8, 0.25, resample_probability=1.0)
    drawn = [chosen(members(), rules, (word, 0))[0] for word in range(200)]
    rates = [changes_of(each.point)["5"]["learning_rate.peak"] for each in drawn]
    assert sum(rate < 1e-3 for rate in rates) == pytest.approx(67, abs=25)  # a third of the scale
    assert len(set(rates)) == 200


def test_failed_members_are_the_worst_and_never_parents() -> None:
    found = chosen(members((math.nan, 1, math.inf, math.nan, 7, 3, 4, 6)))
    assert [each.replaced for each in found] == [2, 3]
    assert {each.parent for each in found} <= {1, 5}
    alone = chosen(members((math.nan,) * 8))
    assert [(each.replaced, each.parent) for each in alone] == [(6, None), (7, None)]
    assert [each.point for each in alone] == [random_point(SPACE, number, SEED) for number in (8, 9)]


def test_new_members_of_one_parent_are_not_alike() -> None:
    space = SearchSpace((Dimension("learning_rate.peak", Range(1e-4, 1e-1, "log")),))
    given = [Member(number, {"learning_rate.peak": 0.01}, number) for number in range(4)]
    rules = Rules(4, 0.5, resample_probability=0.0)
    for word in range(20):
        found = next_members(space, given, rules, 1, 4, (word, 0))
        assert len({(each.parent, repr(each.point)) for each in found}) == 2
        assert not any(one.point == other.point for one, other in [(found[0], found[1])])


def test_a_parent_without_an_active_value_that_may_change_leaves_its_place_to_another() -> None:
    momentum = Dimension("one_minus_momentum", Range(0.01, 1.0), (Condition("optimizer", ("sgd",)),))
    space = SearchSpace((Dimension("optimizer", Choice(("sgd", "adam"))), momentum))
    sgd, adam = {"optimizer": "sgd", "one_minus_momentum": 0.1}, {"optimizer": "adam"}
    given = [Member(number, adam if number == 0 else sgd, number) for number in range(8)]
    for word in range(20):
        assert {each.parent for each in next_members(space, given, RULES, 4, 8, (word, 0))} == {1}


def test_values_at_the_end_of_their_range_change_too() -> None:
    space = SearchSpace((Dimension("learning_rate.peak", Range(1e-4, 1e-1, "log")),))
    given = [Member(number, {"learning_rate.peak": 0.1}, number) for number in range(4)]
    for word in range(20):
        (found,) = next_members(space, given, Rules(4, resample_probability=0.0), 1, 4, (word, 0))
        assert changes_of(found.point) == {"2": {"learning_rate.peak": 0.08}}


def test_a_space_without_other_values_gets_new_points() -> None:
    space = SearchSpace(
        (Dimension("model.dropout", Choice((0.0, 0.2))), Dimension("optimizer", Choice(("sgd", "adam"))))
    )
    given = [Member(number, {"model.dropout": 0.2, "optimizer": "adam"}, number) for number in range(8)]
    found = next_members(space, given, Rules(8, 0.5), 1, 8, SEED)
    assert [each.parent for each in found] == [None] * 4


def test_changes_follow_each_other_and_the_last_one_holds() -> None:
    point: dict[str, Any] = {"optimizer": "adam", "learning_rate.peak": 0.01, "training.changes": {}}
    point["training.changes"] = {"9": {"learning_rate.peak": 0.04}, "10": {"model.dropout": 0.1}}
    assert values_of(point) == {"optimizer": "adam", "learning_rate.peak": 0.04, "model.dropout": 0.1}


def test_a_domain_by_cases_is_that_of_the_members_own_case() -> None:
    cases = Cases("optimizer", ((("sgd",), Range(0.1, 1.0)), (("adam",), Range(1e-4, 1e-3))))
    space = SearchSpace((Dimension("optimizer", Choice(("sgd", "adam"))), Dimension("learning_rate.peak", cases)))
    points = random(space, 4, [], SEED)
    given = [Member(number, point, number) for number, point in enumerate(points)]
    for word in range(30):
        for each in next_members(space, given, Rules(4), 1, 4, (word, 0)):
            value = changes_of(each.point)["2"]["learning_rate.peak"]
            assert (value >= 0.1) == (each.point["optimizer"] == "sgd")


PBT = "method = 'pbt'\npopulation = 8\nperturb_every = 3\nepochs = 8"
RATE = 'learning_rate.peak = { low = 1e-4, high = 0.1, scale = "log" }'


def test_a_generation_is_a_bracket_of_old_and_new_members(read: Read) -> None:
    study = read(study_text(RATE, search=PBT + "\ntruncation = 0.3"))
    rung = [Rung(8, epochs) for epochs in (3, 6, 8)]
    assert study.brackets == (Bracket((rung[0],)), Bracket((rung[1],), 8, 6, 3), Bracket((rung[2],), 10, 6, 6))
    assert study.trial_count == 12
    assert largest_cost_epochs(study.brackets) == 8 * 8
    assert trainings(study.brackets) == 24
    assert (
        finished_trainings(study.brackets, [replace(result(0, 0.5), epochs=8), replace(result(9, 0.5), epochs=6)])
        == 3 + 1
    )
    assert [
        rung.epochs
        for each in read(study_text(RATE, search=PBT.replace("perturb_every = 3", ""))).brackets
        for rung in each.rungs
    ] == list(range(1, 9))


@pytest.mark.parametrize(
    ("search", "key", "word"),
    [
        (PBT + "\ntrials = 8", "search.trials", "population"),
        (PBT.replace("population = 8", ""), "search.population", "missing"),
        (PBT.replace("= 8\np", "= 3\np"), "search.population", "from 4"),
        (PBT.replace("every = 3", "every = 8"), "search.perturb_every", "fewer"),
        (PBT + "\ntruncation = 0.6", "search.truncation", "0.5"),
        (PBT + "\nperturb_factors = [0.8, 0.9]", "search.perturb_factors", "above 1"),
        (PBT + "\nresample_probability = 2", "search.resample_probability", "0 to 1"),
        (PBT + "\nreuse = true", "search.reuse", "remove"),
        (PBT + "\nhistory = true", "search.history", "remove"),
        (PBT + "\naudit = 0.1", "search.audit", "remove"),
        (PBT + "\nhours = 1", "search.hours", "remove"),
        (PBT + "\npatience = 5", "search.patience", "remove"),
        (PBT + "\nsmallest_epochs = 3", "search.smallest_epochs", "rungs"),
        ("trials = 4\nepochs = 3\npopulation = 8", "search.population", "pbt"),
        (
            PBT.replace("every = 3", "every = 1").replace("epochs = 8", "epochs = 400"),
            "search.perturb_every",
            "or more",
        ),
    ],
)
def test_keys_that_do_not_fit_a_population_are_refused(refuse: Refuse, search: str, key: str, word: str) -> None:
    (line,) = refuse(study_text(RATE, search=search))
    assert line.startswith(key)
    assert word in line


@pytest.mark.parametrize(
    ("space", "key", "word"),
    [
        ("batch_size.size = [8, 16]", "search.method", "(allowed: learning_rate.peak"),
        ('optimizer = "sgd"\none_minus_momentum = [0.1, 1.0]', "search.method", "one_minus_momentum (0.1, 1"),
        (RATE + '\nstopping.rule = "patience"', "stopping.rule", "remove"),
        (RATE + "\nstopping.patience = 3", "stopping.patience", "remove"),
    ],
)
def test_spaces_that_do_not_fit_a_population_are_refused(refuse: Refuse, space: str, key: str, word: str) -> None:
    (line,) = refuse(study_text(space, search=PBT))
    assert line.startswith(key)
    assert word in line
