"""The next steps of a report: lines of the study as it is written, and a study with them that is valid."""

import tomllib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightune.models.errors import InputError
from nightune.tasks.load_study import load_study, problems_of
from nightune.tasks.reporting.night.next_steps import Advice, advice_of, complete_changes
from nightune.tasks.reporting.night.page import Context, draw_page
from nightune.tasks.reporting.night.record import Night
from nightune.tasks.tracking.sweeps.origins import Origin
from nightune.tasks.write_next_study import write_next_study
from nightune.tuning.analysis.next_steps.steps import Change, SweepFacts
from nightune.tuning.errors import Problem, StudyError
from nightune.tuning.trial import Params, Status, Trial, TrialResult
from tests.tasks.nights import ACCURACY, Page, night

STUDY = """# the question of the night
question = "Which?"

[data]
source = "iris"

[model]
architecture = "mlp"
units = [[4]]
dropout = { low = 0.0, high = 0.5 }  # a share

[space]
optimizer = ["sgd", "adam", "adamw"]  # three of them
nesterov = [true, false]

[space.learning_rate]
peak = { low = 1e-4, high = 1e-1, scale = "log" }  # the rate

# the budget
[search]
method = "random"
trials = 40
epochs = 20

[objective]
metric = "val_accuracy"
"""
Score = Callable[[Params], float]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "flowers.toml"
    path.write_text(STUDY, encoding="utf-8")
    return path


def swept(study: Path, score: Score) -> Night:
    """A random search of the study, with scores by a function; a score of NaN is a diverged trial."""
    held, generator = load_study(study), np.random.default_rng(2)
    results = []
    for number in range(40):
        params = held.space.at({name: generator.random() for name in held.space.by_name})
        objective = score(params)
        status = Status.COMPLETED if np.isfinite(objective) else Status.DIVERGED
        trial = Trial(number, params, 0, str(number))
        results.append(TrialResult(trial, status, objective, 1 + number % 15, 20, 1, 1, 1.0, run_id=f"run-{number}"))
    text = study.read_text(encoding="utf-8")
    origin = Origin(90.0, content=held.content, written=tomllib.loads(text), text=text)
    return night(results, replace(ACCURACY, planned_trials=40), origin=origin)


def by_rate(params: Params) -> float:
    return float(params["learning_rate.peak"]) ** 0.1  # type: ignore[arg-type]


def without_sgd(params: Params) -> float:
    return float("nan") if params["optimizer"] == "sgd" else by_rate(params)


def advised(study: Path, score: Score) -> list[Advice]:
    return advice_of(swept(study, score), partial(problems_of, study_file=study))


@pytest.mark.parametrize(
    ("search", "has_rungs"),
    [
        ("", True),
        ('method = "random"', False),
        ('method = "gp"', False),
        ('method = "gp"\nsmallest_epochs = 3', True),
        ('method = "auto"', True),
    ],
)
def test_the_rules_know_whether_trials_were_dropped_at_rungs(
    study: Path, monkeypatch: pytest.MonkeyPatch, search: str, has_rungs: bool
) -> None:
    seen: list[SweepFacts] = []
    monkeypatch.setattr("nightune.tasks.reporting.night.next_steps.next_steps", lambda facts: seen.append(facts) or [])
    study.write_text(STUDY.replace('method = "random"', search), encoding="utf-8")
    assert advised(study, by_rate) == []
    assert [each.has_rungs for each in seen] == [has_rungs]


def test_lines_stand_under_the_heading_that_the_study_has(study: Path) -> None:
    (line,) = next(each for each in advised(study, by_rate) if "peak" in each.step.title).lines
    assert line.section == "[space.learning_rate]"
    assert line.before == 'peak = { low = 0.0001, high = 0.1, scale = "log" }'
    assert line.after == 'peak = { low = 0.0001, high = 1.0, scale = "log" }'


def test_the_next_study_has_the_changes_and_all_comments_and_is_valid(study: Path) -> None:
    subject = swept(study, without_sgd)
    advice = advice_of(subject, partial(problems_of, study_file=study))
    copy = study.with_name("NEXT.toml")
    taken = write_next_study(study, copy, advice, subject.origin.written)
    assert taken == advice
    tables, text = tomllib.loads(copy.read_text(encoding="utf-8")), copy.read_text(encoding="utf-8")
    assert tables["space"]["optimizer"] == ["adam", "adamw"]
    assert tables["space"]["learning_rate"]["peak"]["high"] == 1.0
    assert "nesterov" not in tables["space"]  # only sgd has it
    assert all(line.partition("#")[2] in text for line in STUDY.splitlines() if "#" in line)
    held = load_study(copy)
    assert held.name == "flowers"  # its sweep is the next one of the study
    assert study.read_text(encoding="utf-8") == STUDY


def test_a_study_that_the_check_refuses_is_not_kept(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise StudyError("NEXT.toml", [Problem("model.units", "is not right")])

    monkeypatch.setattr("nightune.tasks.write_next_study.check_study", refuse)
    copy = study.with_name("NEXT.toml")
    with pytest.raises(InputError, match=r"model\.units"):
        write_next_study(study, copy, advised(study, by_rate), tomllib.loads(STUDY))
    assert not copy.exists()


def test_a_key_that_was_edited_since_the_sweep_stays(study: Path) -> None:
    subject = swept(study, without_sgd)
    advice = advice_of(subject, partial(problems_of, study_file=study))
    study.write_text(STUDY.replace("high = 1e-1", "high = 2e-1"), encoding="utf-8")
    copy = study.with_name("NEXT.toml")
    taken = write_next_study(study, copy, advice, subject.origin.written)
    assert len(taken) < len(advice)
    assert tomllib.loads(copy.read_text(encoding="utf-8"))["space"]["learning_rate"]["peak"]["high"] == 0.2


@pytest.mark.parametrize("name", ["flowers.toml", "other/NEXT.toml", "NEXT.txt"])
def test_no_file_is_replaced_and_none_is_written_elsewhere(name: str, study: Path) -> None:
    (study.parent / "other").mkdir()
    with pytest.raises(StudyError, match="file"):
        write_next_study(study, study.parent / name, advised(study, by_rate), tomllib.loads(STUDY))
    assert study.read_text(encoding="utf-8") == STUDY


def test_without_a_change_nothing_is_written(study: Path) -> None:
    copy = study.with_name("NEXT.toml")
    with pytest.raises(InputError, match="nothing is written"):
        write_next_study(study, copy, [], tomllib.loads(STUDY))
    assert not copy.exists()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([Change(("space", "optimizer"), ["adam"])], [("space", "optimizer"), ("space", "nesterov")]),
        ([Change(("search", "epochs"), 40)], [("search", "epochs")]),
        ([Change(("search", "epochs"), -1)], None),
        ([Change(("space", "nowhere"), 1)], None),
    ],
)
def test_changes_that_a_study_cannot_have_are_completed_or_refused(
    changes: list[Change], expected: Any, study: Path
) -> None:
    found = complete_changes(STUDY, changes, partial(problems_of, study_file=study))
    assert (None if found is None else [change.path for change in found]) == expected


def test_the_page_has_the_steps_and_says_so_where_there_are_none(study: Path) -> None:
    subject = swept(study, without_sgd)
    advice = advice_of(subject, partial(problems_of, study_file=study))
    page = Page(draw_page(subject, Context("flowers.toml", "sqlite:///a.db", advice=advice)))
    assert {"del", "ins"} <= set(page.elements)
    for each in advice:
        assert each.step.title in page.text
        assert each.step.evidence in page.text
    assert "--write NEXT.toml" in page.text
    silent = Page(draw_page(subject, Context("flowers.toml", "sqlite:///a.db")))
    assert "Nothing stands out" in silent.text
    assert "--write" not in silent.text


def test_an_older_sweep_or_one_without_a_result_has_no_steps(study: Path) -> None:
    subject = swept(study, by_rate)
    for other in (replace(subject, origin=Origin(90.0)), replace(subject, trials=())):
        assert advice_of(other, partial(problems_of, study_file=study)) == []
