"""Pairs and parallel coordinates in the report: true places, words by chance alone, and no text of a user as code."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nightune.tasks.reporting.night.page import Context, draw_page
from nightune.tasks.reporting.night.pairs_section import examined_pairs, pair_rows, pair_specs, pairs_heading
from nightune.tasks.reporting.night.parallel_section import parallel_data, parallel_heading
from nightune.tasks.reporting.night.record import Night
from nightune.tasks.tracking.sweeps.origins import Origin
from nightune.tuning.study.space_content import space_of
from nightune.tuning.trial import Status, Trial, TrialResult
from tests.tasks.nights import ACCURACY, HOSTILE, Page, expressions, night

RATE = {"low": 1e-4, "high": 1e-1, "scale": "log", "integer": False, "steps": None}
SHARE = {"low": 0.0, "high": 0.5, "scale": "linear", "integer": False, "steps": None}
CONTENT: dict[str, Any] = {
    "space": {
        "rate": {"domain": RATE, "when": {}},
        "kind": {"domain": {"options": ["plain", HOSTILE]}, "when": {}},
        "momentum": {"domain": SHARE, "when": {"kind": {"values": ["plain"], "or_absent": False}}},
        "dropout": {"domain": SHARE, "when": {}},
    }
}


def swept(is_noise: bool = False, seed: int = 0, trials: int = 60) -> Night:
    """The best rate depends on the kind, and the kind plain is the better one; or noise."""
    space, generator, results = space_of(CONTENT), np.random.default_rng(seed), []
    assert space is not None
    for number in range(trials):
        params = space.at({name: generator.random() for name in space.by_name})
        place = (np.log10(float(params["rate"])) + 4) / 3  # type: ignore[arg-type]
        planted = 0.1 * (params["kind"] == "plain") - (place - (0.8 if params["kind"] == "plain" else 0.2)) ** 2
        score = 0.6 + 0.2 * planted * (not is_noise) + 0.01 * generator.normal()
        trial = Trial(number, params, 1, f"{number:016x}")
        results.append(TrialResult(trial, Status.COMPLETED, float(score), 3, 4, 1, 1, 1.0, run_id=f"run-{number}"))
    return night(results, replace(ACCURACY, planned_trials=trials), origin=Origin(90.0, content=CONTENT))


def without_effects(subject: Night) -> Night:
    """The same sweep with no effect of a single dimension, which take a second to compute."""
    vars(subject)["effects"] = []
    return subject


@pytest.fixture(scope="module")
def subject() -> Night:
    return swept()


def test_a_pair_is_named_with_the_best_values_and_drawn(subject: Night) -> None:
    found = examined_pairs(subject)
    assert pairs_heading(subject, found) == "The best rate depends on kind"
    note = pair_rows(subject, found)[0]["note"]
    best = float(note.partition("plain: about ")[2].partition(";")[0])
    assert 0.01 < best < 0.1
    specs = pair_specs(subject, found)
    assert not any("alert" in text for text in expressions(specs))
    lines = [layer["data"]["values"] for layer in specs["pair-0"]["layer"] if layer["mark"]["type"] == "line"]
    assert len(lines) == 2
    assert all(row["low"] <= row["middle"] <= row["high"] for line in lines for row in line)


def test_lines_have_the_places_of_the_trials(subject: Night) -> None:
    data = parallel_data(subject)
    assert data is not None
    assert subject.space is not None
    names = [each["name"] for each in data["axes"]]
    lines = {each["trial"]: each["u"] for each in data["lines"]}
    best = subject.full[0]
    assert lines[best.trial.number][0] == 1.0
    assert lines[subject.full[-1].trial.number][0] == 0.0
    for result in subject.full:
        places = dict(zip(names[1:], lines[result.trial.number][1:], strict=True))
        for name, place in places.items():
            value = result.trial.params.get(name)
            expected = None if value is None else subject.space.by_name[name].domain.to_unit(value)  # type: ignore[union-attr]
            assert place == (None if expected is None else pytest.approx(expected, abs=1e-4))
    assert [each["kind"] for each in data["lines"]].count("winner") == 1


def test_what_the_best_have_in_common_is_said_by_chance_alone(subject: Night) -> None:
    heading = parallel_heading(subject)
    assert "of the best 15 trials have kind plain" in heading
    assert (
        sum("of the best" in parallel_heading(without_effects(swept(is_noise=True, seed=seed))) for seed in range(100))
        <= 5
    )


def test_without_a_space_or_with_few_trials_there_are_no_lines(subject: Night) -> None:
    assert parallel_data(replace(subject, origin=Origin(90.0))) is None
    few = swept(trials=3)
    assert parallel_data(few) is None
    assert examined_pairs(few).pairs == 0


def test_the_page_holds_both_and_a_thousand_trials_fit() -> None:
    many = swept(trials=1000)
    html = draw_page(without_effects(replace(many, curves={})), Context("flowers.toml", "sqlite:///a.db"))
    assert len(html.encode()) < 6e6
    page = Page(html)
    assert len(page.json["parallel-data"]["lines"]) == 1000
    assert "pair-0" in page.json["specs"]
    assert "img" not in page.elements
    assert "The best rate depends on kind" in page.text
