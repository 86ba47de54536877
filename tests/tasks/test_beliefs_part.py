"""The part of the report on the search itself: what proposed the trials, and what was expected of them."""

from dataclasses import replace
from typing import Any

from nightune.tasks.reporting.night.page import Context, draw_page
from nightune.tasks.reporting.night.phrases import status_text
from nightune.tasks.reporting.night.record import Night
from nightune.tuning.analysis.beliefs import Beliefs, Prediction
from nightune.tuning.trial import Expectation, Parent, Status, TrialResult
from tests.tasks.nights import HOSTILE, Page, night, result

EXPECTED = Expectation(0.93, 0.02, 4)


def proposed(number: int, score: float, by: str, expected: Expectation | None = None) -> TrialResult:
    held = result(number, score)
    return replace(held, trial=replace(held.trial, proposed_by=by, expected=expected))


def believing_night(**changes: Any) -> Night:
    trials = [proposed(0, 0.9, "random"), proposed(1, 0.8, HOSTILE), proposed(2, 0.95, "gp", EXPECTED)]
    held = Beliefs({"rate": 0.3, "note": HOSTILE}, EXPECTED, None, (Prediction(2, EXPECTED, 0.95),))
    return night(trials, **({"beliefs": held} | changes))


def page_of(subject: Night) -> Page:
    page = Page(draw_page(subject, Context("a.toml", "sqlite:///a.db")))
    assert "img" not in page.elements
    return page


def test_the_winner_and_the_search_say_what_was_expected() -> None:
    page = page_of(believing_night())
    text = page.text.rpartition("What the search believes")[2].partition("Every trial")[0]
    for words in ("Trial 2 leads: proposed by gp", "93.0\u00a0% ± 2.0\u00a0points", "got 95.0", "a new point", HOSTILE):
        assert words in text
    figure = page.json["specs"]["beliefs"]["layer"]
    assert [row["trial"] for row in figure[2]["data"]["values"]] == ["2"]


def test_without_a_model_the_ways_are_listed_where_there_are_several() -> None:
    page = page_of(believing_night(beliefs=None))
    assert "beliefs" not in page.json["specs"]
    assert "Trials were proposed in 3 ways" in page.text
    alike = page_of(night([proposed(0, 0.9, "random"), proposed(1, 0.8, "random")]))
    assert "What the search believes" not in alike.text


def test_predictions_of_dropped_trials_are_said_to_be_unchecked() -> None:
    dropped = Prediction(1, EXPECTED, None, has_entered=False)
    held = Beliefs(None, None, None, (Prediction(2, EXPECTED, 0.95), dropped))
    text = page_of(believing_night(beliefs=held)).text
    for words in ("1 of 1 prediction", "could be checked", "1 of 2 trials"):
        assert words in text


def test_expectations_after_several_numbers_of_epochs_are_told_apart() -> None:
    late = Prediction(1, Expectation(0.95, 0.02, 8), 0.9)
    held = Beliefs(None, None, None, (Prediction(2, EXPECTED, 0.95), late))
    page = page_of(believing_night(beliefs=held))
    assert "before each training, after 4 or 8 epochs," in page.text
    shape = page.json["specs"]["beliefs"]["layer"][2]["encoding"]["shape"]
    assert (shape["field"], shape["sort"]) == ("epochs", ["4", "8"])
    alone = page_of(believing_night())
    assert "after 4 epochs," in alone.text
    assert "shape" not in alone.json["specs"]["beliefs"]["layer"][2]["encoding"]


def test_a_replaced_member_of_a_population_is_not_called_dropped_at_a_rung() -> None:
    held = night([proposed(0, 0.9, "random")])
    population = replace(held, sweep=replace(held.sweep, method="pbt"))
    assert [status_text(each, Status.NOT_PROMOTED) for each in (held, population)] == ["dropped at a rung", "replaced"]


def test_a_population_says_which_members_continued_which_and_the_leaders_values() -> None:
    members = [proposed(number, 0.9 - number / 10, "random") for number in range(3)]
    held = proposed(3, 0.95, "pbt")
    changes: Any = {"3": {"rate": 0.02}, "4": {"rate": 0.03}}
    params = {**held.trial.params, "rate": 0.01, "training.changes": changes}
    members.append(replace(held, trial=replace(held.trial, params=params, parent=Parent(0, 3, 2, 0.9, None)), epochs=6))
    text = page_of(night(members)).text.replace("\u00a0", " ")
    assert "What the search believes" not in text
    for words in (
        "What the population found",
        "1 trial continued better ones",
        "rate 0.01 → 0.03",
        "to epoch 2: rate 0.01 · epoch 3: rate 0.02 · epochs 4 to 6: rate 0.03",
        "Trial 3 continues trial 0 after epoch 3 (90.0 %), replaced trial 2 (no finite result)",
    ):
        assert words in text
