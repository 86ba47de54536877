"""Trials of a search with rungs are compared where none was dropped, and the report says after how many epochs."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from nightune.tasks.reporting.night.ablation_section import ablations
from nightune.tasks.reporting.night.figures import tooltips, trial_rows
from nightune.tasks.reporting.night.headings import compared_note, mattered_heading
from nightune.tasks.reporting.night.page import Context, draw_page
from nightune.tasks.reporting.night.pairs_section import pairs_heading
from nightune.tasks.reporting.night.parallel_section import parallel_heading
from nightune.tasks.reporting.night.record import Night
from nightune.tasks.tracking.sweeps.origins import Origin
from nightune.tasks.tracking.trials.recorded import RecordedTrial
from nightune.tasks.write_report import importance_of_dimensions
from nightune.tuning.analysis.interactions import Examined
from nightune.tuning.trial import Status, Trial
from tests.tasks.nights import Page
from tests.tasks.test_effects_figures import CONTENT, swept

HALVING: dict[str, Any] = {"search": {"method": "successive_halving", "trials": 60, "epochs": 24}}
AFTER = "after 3 epochs"


@pytest.fixture(scope="module")
def halved() -> Night:
    """60 trials with planted effects after 3 epochs; the better half trains on, and all of these end alike."""
    whole = swept()
    best = {each.trial.number for each in whole.ranked[:30]}
    trials = [
        replace(each, result=replace(each.result, objective=0.95, epochs=24, best_epoch=20))
        if each.result.trial.number in best
        else replace(each, result=replace(each.result, status=Status.NOT_PROMOTED, epochs=3))
        for each in whole.trials
    ]
    at_rung = {each.trial.number: each.objective for each in whole.ranked[:30]}
    origin = Origin(90.0, content={**CONTENT, **HALVING})
    return replace(whole, trials=tuple(trials), origin=origin, rung_objectives=at_rung)


def test_all_trials_are_compared_at_their_first_rung(halved: Night) -> None:
    whole = swept()
    assert (halved.compared_epochs, len(halved.full), len(halved.further)) == (3, 30, 30)
    assert [(each.trial.number, each.objective) for each in halved.compared] == [
        (each.trial.number, each.objective) for each in whole.ranked
    ]
    assert [(each.name, each.matters) for each in halved.effects][:2] == [
        (each.name, each.matters) for each in whole.effects
    ][:2]
    assert AFTER in mattered_heading(halved)
    assert f"all 60 trials {AFTER}" in compared_note(halved)
    assert AFTER in parallel_heading(halved)


def test_importance_leaves_out_what_diverged_after_the_rung_as_the_report_does(halved: Night) -> None:
    """As of the rung these trials have an objective; a study of two rungs, as recorded."""
    lost = {each.trial.number for each in halved.further[:3]}
    ends = [replace(each, status=Status.DIVERGED) if each.trial.number in lost else each for each in halved.results]
    as_of = {str(each.trial.number): replace(each, status=Status.NOT_PROMOTED) for each in halved.results}
    known = SimpleNamespace(results=lambda: ends, results_at=lambda _: as_of)
    study = SimpleNamespace(brackets=halved.brackets, space=halved.space, seed=0, search=SimpleNamespace(epochs=24))
    sweep = SimpleNamespace(first_rungs=(), direction=halved.sweep.direction)
    setting: Any = SimpleNamespace(study=study, known=known, sweep=sweep)
    found = importance_of_dimensions(setting)
    assert {each.trials for each in found.dimensions} <= set(range(len(ends) - len(lost) + 1))
    assert max(each.trials for each in found.dimensions) == len(ends) - len(lost)
    assert found.epochs == 3


def test_headings_without_a_finding_say_after_how_many_epochs_there_is_none(halved: Night) -> None:
    none = replace(halved, rung_objectives=dict.fromkeys(halved.rung_objectives, 0.5))
    vars(none)["effects"] = []
    assert AFTER in mattered_heading(none)
    assert AFTER in pairs_heading(none, Examined((), 14))


def test_rounds_are_those_of_a_space_of_fewer_points_than_trials(halved: Night) -> None:
    search = {"method": "gp", "trials": 60, "epochs": 50, "smallest_epochs": 3}
    space = {"batch_size.size": {"domain": {"options": list(range(1, 29))}, "when": {}}}
    few = replace(halved, origin=Origin(90.0, content={"space": space, "search": search}))
    assert [each.trials for each in few.brackets] == [16, 16, 16, 12]  # of a version that repeated points
    distinct = replace(few, sweep=replace(few.sweep, is_without_repeats=True))
    assert [each.trials for each in distinct.brackets] == [16, 12]
    assert [each.rungs[0].epochs for each in distinct.brackets] == [3, 6]


def test_a_trial_whose_objective_there_is_not_known_is_left_out_and_no_other_epochs_stand_for_it(
    halved: Night,
) -> None:
    unknown = replace(halved, rung_objectives={})
    assert {each.epochs for each in unknown.compared} == {3}
    assert len(unknown.compared) == 30
    assert "which leads, had no rung there" in compared_note(unknown)


def test_a_sweep_that_has_ended_early_compares_the_trials_that_it_has(halved: Night) -> None:
    search = {"method": "auto", "trials": 100, "epochs": 50}
    content = {**CONTENT, "search": search}
    first = [each for each in halved.trials if each.result.trial.number < 8]
    sweep = replace(halved.sweep, first_round=8)
    begun = replace(halved, sweep=sweep, trials=tuple(first), origin=Origin(90.0, content=content))
    assert begun.compared_epochs == 6  # of the first round, where eight trials begin
    assert replace(halved, sweep=sweep, origin=Origin(90.0, content=content)).compared_epochs == 3


def test_without_rungs_each_trial_is_compared_as_it_ended() -> None:
    whole = swept(trials=12)
    flat = replace(
        whole, origin=Origin(90.0, content={**CONTENT, "search": {"method": "random", "trials": 12, "epochs": 4}})
    )
    for each in (whole, flat):
        assert (each.compared_epochs, each.after_epochs, compared_note(each)) == (0, "", "")
        assert each.compared == each.full
        assert each.further == []


def test_the_page_says_after_how_many_epochs_trials_are_compared(halved: Night) -> None:
    path = ablations(halved)[0].path
    trial = Trial(0, {**path.start}, 1, "k")
    trained = RecordedTrial(replace(halved.full[0], objective=0.5, trial=trial), 1.0)
    page = Page(draw_page(replace(halved, ablation=(trained,)), Context("flowers.toml", "sqlite:///a.db")))
    text = page.text
    for part, end in (
        ("Along each dimension", "What works together"),
        ("All dimensions at once", "What the winner owes"),
        ("What the winner owes to its settings", "Early stopping"),
    ):
        assert AFTER in text.partition(part)[2].partition(end)[0], part
    assert "Trained in full" in text
    assert page.json["specs"]["ablation-default"]["layer"][3]["data"]["values"] == []  # no ring of other epochs
    assert "it had" in text
    assert page.json["specs"]["importance"]["layer"][0]["encoding"]["x"]["axis"]["title"].endswith(AFTER)
    assert page.json["parallel-data"]["axes"][0]["name"].endswith(AFTER)


def test_dots_are_drawn_at_the_score_that_is_compared(halved: Night) -> None:
    m = halved.measure
    rows = {row["trial"]: row for row in trial_rows(halved, m.reach([each.objective for each in halved.ranked]))}
    for each in halved.compared:
        row = rows[str(each.trial.number)]
        assert row["compared"] == pytest.approx(m.drawn(each.objective))
        assert row["told_there"] == m.text(each.objective, 1)
    assert [each["title"] for each in tooltips(m, halved.after_epochs)][1] == f"{m.name} {AFTER}"
