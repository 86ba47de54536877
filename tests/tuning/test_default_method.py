"""A study that sets no method: an automatic search, whatever else the study asks for."""

import json

import pytest

from nightune.tuning.search.domains import Choice
from nightune.tuning.search.search_space import Dimension, SearchSpace
from nightune.tuning.study.full_trainings import rung_problems, why_in_full, with_possible_rungs
from nightune.tuning.study.objective import Objective
from nightune.tuning.study.search_section import SearchSection
from tests.tuning.conftest import Read, Refuse, study_text

LONG = "trials = 20\nepochs = 12"
RATES = "learning_rate.peak = { low = 0.001, high = 0.1 }"
SEVERAL = '[objective]\nmetrics = ["val_accuracy", "latency_ms"]\n'
COMPARING = SearchSpace((Dimension("stopping.rule", Choice(("none", "median"))),))
PLAIN = SearchSpace((Dimension("stopping.rule", Choice(("none", "patience"))),))
ONE = Objective(metric="val_loss")


def section(**keys: object) -> SearchSection:
    return SearchSection.model_validate({"trials": 20, "epochs": 12, **keys})


def test_a_study_without_a_method_is_searched_as_one_with_auto(read: Read) -> None:
    study, named = (read(study_text(RATES, search=key + LONG)) for key in ("", 'method = "auto"\n'))
    assert (study.search.method, study.search.has_rungs, study.digest) == ("auto", True, named.digest)
    assert (study.search.is_default, named.search.is_default) == (True, False)
    assert read(study_text(search="epochs = 12\nhours = 1")).trial_count == 1000


@pytest.mark.parametrize("method", ["", 'method = "auto"\n'])
@pytest.mark.parametrize(
    ("search", "objective", "reason"),
    [(f"{LONG}\nreuse = true", "", "reuse"), (LONG, SEVERAL, "first"), ("trials = 20\nepochs = 5", "", "6 or more")],
)
def test_what_needs_full_trainings_has_them_and_the_study_knows_why(
    read: Read, method: str, search: str, objective: str, reason: str
) -> None:
    study = read(study_text(RATES, search=method + search) + objective)
    assert {len(bracket.rungs) for bracket in study.brackets} == {1}
    assert [bracket.trials for bracket in study.brackets] == [8, 12]
    assert reason in study.why_in_full
    recorded = SearchSection.model_validate_json(json.dumps(study.content["search"]))  # as a sweep is read again
    assert not recorded.has_rungs


def test_a_rule_that_compares_curves_leaves_out_the_rungs_of_auto_alone() -> None:
    search = with_possible_rungs(section(), ONE, COMPARING)
    assert not search.has_rungs
    assert list(rung_problems(search, ONE, COMPARING)) == []
    assert "median" in why_in_full(search, ONE, COMPARING)
    assert with_possible_rungs(section(), ONE, PLAIN).has_rungs
    assert why_in_full(section(), ONE, PLAIN) == ""
    gp = section(method="gp")
    assert with_possible_rungs(gp, ONE, COMPARING) == gp
    assert "all 12" in why_in_full(section(smallest_epochs=12), ONE, PLAIN)


def test_replicates_of_one_point_are_all_trained_in_full() -> None:
    one = SearchSpace((Dimension("optimizer", Choice(("sgd",))),))
    search = with_possible_rungs(section(), ONE, one)
    assert not search.has_rungs
    assert "seeds" in why_in_full(search, ONE, one)


@pytest.mark.parametrize(
    ("keys", "remedy"),
    [
        ({"smallest_epochs": 4}, "remove smallest_epochs"),
        ({"reduction_factor": 3, "smallest_epochs": 4}, "remove reduction_factor and smallest_epochs"),
        ({"method": "hyperband", "trials": None}, "method 'auto'"),
    ],
)
def test_rungs_that_a_study_asks_for_are_refused_with_a_remedy(keys: dict[str, object], remedy: str) -> None:
    search = with_possible_rungs(section(**keys), ONE, COMPARING)
    (problem,) = rung_problems(search, ONE, COMPARING)
    assert problem.key == "stopping.rule"
    assert remedy in problem.message


@pytest.mark.parametrize("objective", ["", SEVERAL])
def test_a_study_knows_what_earlier_versions_made_of_it(read: Read, objective: str) -> None:
    study = read(study_text(RATES, search=LONG) + objective)
    random = read(study_text(RATES, search=f'method = "random"\n{LONG}') + objective)
    assert study.as_earlier.digest == random.digest != study.digest
    assert random.as_earlier.digest == random.digest
    named = read(study_text(RATES, search=f'method = "auto"\n{LONG}') + objective)
    assert named.as_earlier.digest == named.digest


@pytest.mark.parametrize("search", ["trials = 4\nsmallest_epochs = 3", "trials = 4\nepochs = 'x'\ntotal_epochs = 2"])
def test_wrong_epochs_are_the_only_problem_of_keys_that_depend_on_them(refuse: Refuse, search: str) -> None:
    (line,) = refuse(study_text(search=search))
    assert line.startswith("search.epochs")
