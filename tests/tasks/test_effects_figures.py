"""What mattered, in the report: planted effects are found and drawn in place, and chance is called chance."""

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nightune.tasks.reporting.night.effects_figures import importance, isolation
from nightune.tasks.reporting.night.figures import dimension_field, trial_rows
from nightune.tasks.reporting.night.headings import effect_note, mattered_heading, mattered_note
from nightune.tasks.reporting.night.page import Context, draw_page
from nightune.tasks.reporting.night.record import Night
from nightune.tasks.tracking.sweeps.origins import Origin
from nightune.tuning.search.domains import is_same
from nightune.tuning.study.space_content import space_of
from nightune.tuning.trial import Status, Trial, TrialResult
from tests.tasks.nights import ACCURACY, HOSTILE, Page, expressions, night

RATE = {"low": 1e-4, "high": 1e-1, "scale": "log", "integer": False, "steps": None}
SHARE = {"low": 0.0, "high": 0.5, "scale": "linear", "integer": False, "steps": None}
CONTENT: dict[str, Any] = {
    "space": {
        "learning_rate.peak": {"domain": RATE, "when": {}},
        "model.kind": {"domain": {"options": ["plain", HOSTILE, [64, 32]]}, "when": {}},
        "model.dropout": {"domain": SHARE, "when": {}},
        "momentum": {"domain": SHARE, "when": {"model.kind": {"values": ["plain"], "or_absent": False}}},
        "strength": {
            "domain": {"controller": "model.kind", "cases": [[["plain", [64, 32]], RATE], [[HOSTILE], SHARE]]},
            "when": {},
        },
    }
}
METRICS = {"maximize": "val_accuracy", "minimize": "val_loss"}


def swept(direction: str = "maximize", trials: int = 60) -> Night:
    """A random search in which the rate decides most, and the plain kind is better than the others."""
    space, generator = space_of(CONTENT), np.random.default_rng(4)
    assert space is not None
    results = []
    for number in range(trials):
        params = space.at({name: generator.random() for name in space.by_name})
        score = 0.4 + 0.1 * np.log10(float(params["learning_rate.peak"]) * 1e4)  # type: ignore[arg-type]
        score += 0.15 * is_same(params["model.kind"], "plain") + 0.005 * generator.normal()
        trial = Trial(number, params, 1, f"{number:016x}")
        objective = float(score if direction == "maximize" else 1 - score)
        results.append(TrialResult(trial, Status.COMPLETED, objective, 3, 4, 1, 1, 1.0, run_id=f"run-{number}"))
    sweep = replace(ACCURACY, direction=direction, metric=METRICS[direction], planned_trials=trials)
    return night(results, sweep, origin=Origin(90.0, content=CONTENT))


@pytest.fixture(scope="module")
def subject() -> Night:
    return swept()


def test_planted_effects_are_found_in_their_order_and_the_rest_is_chance(subject: Night) -> None:
    names = [each.name for each in subject.effects if each.matters]
    assert set(names) == {"learning_rate.peak", "model.kind"}
    assert mattered_heading(subject).startswith(f"{names[0]} and {names[1]} decided most")
    notes = {each.name: effect_note(subject, each) for each in subject.effects}
    assert "at plain" in notes["model.kind"]
    assert "chance" in notes["model.dropout"]
    assert "momentum" in mattered_note(subject) + " ".join(notes)
    rate = next(each for each in subject.effects if each.name == "learning_rate.peak")
    assert rate.share_low < rate.share < rate.share_high
    assert rate.middle[-10] > rate.middle[10]
    assert np.all(rate.low <= rate.high)


@pytest.mark.slow
def test_the_better_side_follows_the_direction() -> None:
    subject = swept("minimize")
    notes = {each.name: effect_note(subject, each) for each in subject.effects}
    assert "at plain" in notes["model.kind"]
    assert float(notes["learning_rate.peak"].split("at about ")[1].split(":")[0]) > 0.01


def test_figures_have_the_numbers_of_the_effects_and_of_the_trials(subject: Night) -> None:
    bars = importance(subject.effects)["layer"][0]["data"]["values"]
    assert [bar["share"] for bar in bars] == [100 * each.share for each in subject.effects]
    reach = subject.measure.reach([each.objective for each in subject.full])
    rows = {row["trial"]: row for row in trial_rows(subject, reach)}
    rate, kind = (dimension_field(subject, name) for name in ("learning_rate.peak", "model.kind"))
    for result in subject.full:
        row, params = rows[str(result.trial.number)], result.trial.params
        assert row[rate] == params["learning_rate.peak"]
        options = CONTENT["space"]["model.kind"]["domain"]["options"]
        assert is_same(options[round(row[kind])], params["model.kind"])
    for effect in subject.effects:
        layers = isolation(subject, effect)["layer"]
        line = layers[2]["data"]["values"]
        assert all(row["low"] <= row["middle"] <= row["high"] for row in line)
        assert len(line) in (3, 64)


def test_the_page_draws_each_dimension_and_runs_no_text_of_a_user(subject: Night) -> None:
    html = draw_page(subject, Context("flowers.toml", "sqlite:///a.db"))
    page = Page(html)
    drawn = [name for name in page.json["specs"] if name.startswith("along-")]
    assert len(drawn) == len(subject.effects)
    assert not any("alert" in text for name in drawn for text in expressions(page.json["specs"][name]))
    assert HOSTILE[:12] in json.dumps(page.json["specs"])
    assert "What mattered" in page.text
    headings = re.findall(r"<figcaption><b>([^<]+)</b>", html)
    assert headings.index("learning_rate.peak") < headings.index("model.kind")
    assert "img" not in page.elements


@pytest.mark.slow
def test_vega_lite_accepts_the_figures(subject: Night) -> None:
    import vl_convert

    specs = [importance(subject.effects), *(isolation(subject, each) for each in subject.effects)]
    for spec in specs:
        vl_convert.vegalite_to_vega(json.dumps(spec | {"datasets": {"trials": []}, "width": 300}), vl_version="6.4")


def test_without_a_space_or_with_few_trials_nothing_is_said(subject: Night) -> None:
    for other in (replace(subject, origin=Origin(90.0)), replace(subject, trials=subject.trials[:6])):
        page = Page(draw_page(other, Context("flowers.toml", "sqlite:///a.db")))
        assert "What mattered" not in page.text
        assert not any(name.startswith("along") or name == "importance" for name in page.json["specs"])
    equal = [replace(each, result=replace(each.result, objective=0.5)) for each in subject.trials]
    page = Page(draw_page(replace(subject, trials=tuple(equal)), Context("flowers.toml", "sqlite:///a.db")))
    assert "beyond chance" in page.text
