"""Searches that begin with the portfolio: what is kept of a configuration, in which space, and what is drawn."""

from collections.abc import Sequence
from typing import Any

import pytest

from nightune.tuning.search.domains import Choice, Range
from nightune.tuning.search.portfolio import Beginning, Fitted, begin, configurations, fit, read_portfolio
from nightune.tuning.search.samplers import random, random_point
from nightune.tuning.search.search_space import Dimension, SearchSpace
from nightune.tuning.study.rounds import bracket_points, proposed_by
from nightune.tuning.study.study import Study
from nightune.tuning.trial import Params
from tests.tuning.conftest import KEYS, Read, Refuse, has_parts, study_text

pytestmark = pytest.mark.usefixtures("portfolio")

SPACE = """
optimizer = ["adam", "adamw", "sgd"]
learning_rate.peak = { low = 1e-4, high = 0.1, scale = "log" }
batch_size.size = [32, 64]
one_minus_momentum = { low = 0.01, high = 1.0, scale = "log", when = { optimizer = "sgd" } }
"""
START = 'trials = 20\nepochs = 12\nstart = "portfolio"'


def completed(point: Params) -> Params:
    return {name: key.default for name, key in KEYS.items() if not key.when} | dict(point)


def begun(study: Study, before: Sequence[Params] = (), kind: str = "classification") -> Beginning:
    return begin(read_portfolio(), study.space, kind, completed, before, study.sweep_seed(0))


def fitted(space: SearchSpace, **configuration: Any) -> Fitted:
    dotted = {name.replace("__", "."): value for name, value in configuration.items()}
    return fit(space, dotted, dict.fromkeys(space.by_name, 0.0), completed)


def test_each_configuration_of_the_family_is_a_point_of_the_space(read: Read) -> None:
    study = read(study_text(SPACE, search=START))
    found = begun(study)
    assert (found.configurations, len(found.fitted), found.without_family) == (8, 8, ())
    assert [each.point["learning_rate.peak"] for each in found.fitted][:3] == [0.003, 0.1, 0.001]
    assert found.fitted[1].point == {
        "batch_size.size": 64,
        "learning_rate.peak": 0.1,
        "model.architecture": "mlp",
        "one_minus_momentum": 0.1,
        "optimizer": "sgd",
    }
    assert begun(study, kind="regression").configurations == 2


def test_what_a_configuration_lacks_is_what_the_trial_would_draw(read: Read) -> None:
    study = read(study_text(SPACE, search=START))
    found = begun(study)
    drawn = random_point(study.space, 3, (0, 0))
    assert found.fitted[3].drawn == ("batch_size.size",)
    assert found.fitted[3].point["batch_size.size"] == drawn["batch_size.size"]


def test_a_number_is_the_nearest_of_a_range_or_of_options_and_another_option_is_drawn() -> None:
    space = SearchSpace(
        (
            Dimension("learning_rate.peak", Range(1e-4, 1e-2, "log")),
            Dimension("batch_size.size", Choice((16, 96, 256))),
            Dimension("learning_rate.schedule", Choice(("fixed", "step"))),
            Dimension("model.depth", Range(1, 4, integer=True)),
        )
    )
    found = fitted(
        space, learning_rate__peak=0.1, batch_size__size=64, learning_rate__schedule="cosine", model__depth=2
    )
    assert found.point == {
        "batch_size.size": 96,
        "learning_rate.peak": 0.01,
        "learning_rate.schedule": "fixed",
        "model.depth": 2,
    }
    assert (found.nearest, found.drawn) == (("batch_size.size", "learning_rate.peak"), ("learning_rate.schedule",))
    assert fitted(space, batch_size__size=40).point["batch_size.size"] == 96  # by ratio, not by difference
    assert type(fitted(space, learning_rate__peak=0.005, model__depth=9.0).point["model.depth"]) is int


def test_fixed_keys_and_defaults_win_and_are_named(read: Read) -> None:
    study = read(study_text('batch_size.size = 16\nlearning_rate.peak = { low = 1e-4, high = 1.0, scale = "log" }'))
    first, cosine = (begun(study).fitted[place] for place in (0, 3))
    assert first.point["batch_size.size"] == 16
    assert first.fixed == ("batch_size.size",)
    assert cosine.fixed == ("learning_rate.schedule",)
    assert cosine.point["learning_rate.peak"] == 0.01


def test_rates_are_kept_only_with_their_optimizer(read: Read) -> None:
    study = read(study_text('optimizer = "adam"\nlearning_rate.peak = { low = 1e-4, high = 1.0, scale = "log" }'))
    found = begun(study).fitted
    assert found[0].point["learning_rate.peak"] == 0.003
    assert found[1].fixed == ("optimizer",)
    assert found[1].drawn == ("learning_rate.peak",)
    drawn = random_point(study.space, 1, (0, 0))
    assert found[1].point["learning_rate.peak"] == drawn["learning_rate.peak"]
    absent = read(study_text('learning_rate.peak = { low = 1e-4, high = 1.0, scale = "log" }'))  # the default is adam
    assert begun(absent).fitted[1].drawn == ("learning_rate.peak",)


def test_what_belongs_to_no_optimizer_is_kept_with_another_one() -> None:
    space = SearchSpace(
        (
            Dimension("optimizer", Choice(("adam",))),
            Dimension("learning_rate.peak", Range(1e-4, 1.0)),
            Dimension("learning_rate.warmup_fraction", Choice((0.0, 0.1))),
            Dimension("batch_size.size", Range(8, 64, integer=True)),
        )
    )
    found = fitted(
        space, optimizer="sgd", learning_rate__peak=0.1, learning_rate__warmup_fraction=0.1, batch_size__size=32
    )
    assert (found.fixed, found.drawn) == (("optimizer",), ("learning_rate.peak",))
    assert (found.point["learning_rate.warmup_fraction"], found.point["batch_size.size"]) == (0.1, 32)


def test_nothing_is_begun_twice_nor_drawn_again(read: Read) -> None:
    few = read(study_text('optimizer = ["adam", "sgd"]\nbatch_size.size = [32, 64]', search=START))
    found = begun(few).points
    keys = {str(point) for point in found}
    assert len(keys) == len(found) < 8
    points = few.points(few.brackets[0], [], 0, found)
    assert points[: len(found)] == found
    assert sorted(map(str, points)) == sorted(map(str, few.points(few.brackets[0], [], 0)))  # all of them, each once
    assert begun(few, before=found).points == []


def test_a_configuration_that_contradicts_itself_in_the_space_is_left_out_and_named(read: Read) -> None:
    def complete(point: Params) -> Params:
        if point["optimizer"] == "sgd":
            raise ValueError("no sgd here")
        return completed(point)

    study = read(study_text(SPACE, search=START))
    found = begin(read_portfolio(), study.space, "classification", complete, [], study.sweep_seed(0))
    left_out = sum(each.point["optimizer"] == "sgd" for each in begun(study).fitted)
    assert left_out > 0
    assert found.left_out == {"no sgd here": left_out}
    assert (found.configurations, len(found.fitted)) == (8, 8 - left_out)
    assert all(each.point["optimizer"] != "sgd" for each in found.fitted)


def test_own_architectures_take_no_model_params_and_several_take_turns() -> None:
    portfolio = read_portfolio()
    own = configurations(portfolio, ["net.py:make"], "classification")
    assert len(own) == 8
    assert {each["model.architecture"] for each in own} == {"net.py:make"}
    assert all(name == "model.architecture" for each in own for name in each if name.startswith("model."))
    assert [each["learning_rate.peak"] for each in own][:2] == [0.003, 0.002]  # the best of each family in turn
    both = configurations(portfolio, ["cnn", "net.py:make"], "classification")
    assert [each["model.architecture"] for each in both[:4]] == ["cnn", "net.py:make"] * 2
    assert len(both) == 8
    assert configurations(portfolio, ["cnn"], "regression")[0] == {
        "optimizer": "adam",
        "learning_rate.peak": 0.02,
        "batch_size.size": 24,
        "model.architecture": "cnn",
    }


@pytest.mark.parametrize("method", ["random", "successive_halving", "gp", "gp\nsmallest_epochs = 3"])
def test_every_method_begins_with_them_after_those_of_history(read: Read, method: str) -> None:
    name, _, more = method.partition("\n")
    study = read(study_text(SPACE, search=f'{START}\nmethod = "{name}"\n{more}'))
    history = random(study.space, 3, [], (9, 9))
    first = [*history, *begun(study, history).points]
    bracket = study.brackets[0]
    points = bracket_points(study.search, study.space, bracket, [], (0, 0), first)
    assert len(points) == bracket.trials == (8 if name == "gp" else study.search.trials)
    assert points[:11] == first[: bracket.trials]
    assert points[11:] == random(study.space, bracket.trials, [], (0, 0))[11:]
    by = proposed_by(study.search, bracket, len(first), 8)
    assert [by(place) for place in range(12)] == ["history"] * 3 + ["portfolio"] * 8 + ["random"]


def test_a_later_bracket_of_hyperband_has_the_rest_of_them(read: Read) -> None:
    study = read(study_text(SPACE, search='method = "hyperband"\nepochs = 6\nstart = "portfolio"'))
    first = begun(study).points
    sizes = [bracket.trials for bracket in study.brackets]
    points = [study.points(bracket, [], 0, first) for bracket in study.brackets]
    assert list(map(len, points)) == sizes
    assert [point for each in points for point in each][:8] == first[: sum(sizes)]


def test_a_grid_refuses_a_start_and_the_remedies_work(read: Read, refuse: Refuse) -> None:
    grid = study_text("batch_size.size = [32, 64]", search='method = "grid"\nepochs = 2\nstart = "portfolio"')
    (line,) = refuse(grid)
    assert has_parts(line, "search.start: 'portfolio' … grid … remove it … 'random'"), line
    assert read(grid.replace('start = "portfolio"', "")).search.start is None
    assert read(grid.replace('"grid"', '"random"\ntrials = 2')).search.start == "portfolio"
    (unknown,) = refuse(grid.replace('"portfolio"', '"portfolios"'))
    assert has_parts(unknown, "search.start: … portfolio"), unknown


def test_an_installation_without_a_portfolio_refuses_it(
    refuse: Refuse, read: Read, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr("nightune.tuning.search.portfolio.FILE", tmp_path / "portfolio.json")
    (line,) = refuse(study_text(SPACE, search=START))
    assert has_parts(line, "search.start: 'portfolio' … portfolio.json … remove"), line
    assert read(study_text(SPACE, search=START.replace('start = "portfolio"', ""))).trial_count == 20


def test_a_start_is_part_of_the_digest_and_its_absence_is_not(read: Read) -> None:
    method = 'method = "random"\n'
    plain = read(study_text(SPACE, search=f"{method}trials = 20\nepochs = 12"))
    assert "start" not in plain.content["search"]
    assert read(study_text(SPACE, search=method + START)).digest != plain.digest
    assert read(study_text(SPACE, search=method + START.replace("portfolio", "none"))).digest == plain.digest
