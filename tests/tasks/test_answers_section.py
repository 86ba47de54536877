"""The part of the report on the finalists' answers: escaped, with true numbers, silent where nothing is recorded."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.reporting.night.answers_section import answers_heading
from nightune.tasks.reporting.night.page import Context, draw_page
from nightune.tasks.reporting.night.read_night import read_night
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.confirmations import write_confirmation
from nightune.tasks.tracking.sweeps.finalist_answers import read_answers, write_answers
from nightune.tasks.tracking.sweeps.sweeps import Sweep, finish_sweep
from nightune.tuning.analysis.confirmation import Finalist, confirm
from nightune.tuning.analysis.held_out.answers import Answers
from nightune.tuning.analysis.held_out.slices import HeldColumn
from nightune.tuning.analysis.held_out.summarize import summarize
from nightune.tuning.analysis.held_out.summary import Calibration, FinalistAnswers, Group, HeadSummary
from tests.tasks.nights import HOSTILE, SCORES, Page, confirmation, log_trial, night, result

A_LABEL = Group("a", 3.0, 1.0, 0.4, 1.0, None)
SOUND = Calibration("error", 0.01, 0.01, 0.02, ())


def of_classes(**changes: Any) -> HeadSummary:
    generator = np.random.default_rng(0)
    truths = generator.integers(0, 2, 80)
    known = {
        "names": (HOSTILE, "other"),
        "predicted": np.stack([truths, np.where(truths == 1, 0, truths)]),
        "shares": generator.random((2, 80)),
        "hits": np.broadcast_to(truths == 1, (2, 80)),
    }
    answers = Answers("classes", truths=truths, losses=1.0 * truths, weights=np.ones(80), measure="log loss", **known)
    columns = [HeldColumn(HOSTILE, "label", np.where(truths == 1, HOSTILE, "x"))]
    return replace(summarize(answers, columns), **changes)


def of_quantities() -> HeadSummary:
    generator = np.random.default_rng(0)
    truths = generator.normal(size=(80, 1))
    predicted = truths + generator.normal(size=(2, 80, 1))
    return summarize(
        Answers("quantities", (HOSTILE,), truths, predicted, truths[:, 0] ** 2, np.ones(80), "x"), [], "no"
    )


def drawn(subject: Any) -> Page:
    return Page(draw_page(subject, Context("flowers.toml", "sqlite:///mlruns/mlflow.db")))


def test_answers_are_read_as_written(store: Store, sweep: Sweep, data: PreparedData) -> None:
    run = log_trial(store, sweep, data, 0, [0.5, 0.3])
    assert read_answers(store, run) is None
    answers = FinalistAnswers("validation", 80, ("a", "b"), (of_classes(), of_quantities()), size_mb=1.0)
    write_answers(store, run, answers)
    assert read_answers(store, run) == answers
    other = log_trial(store, sweep, data, 1, [0.6, 0.4])
    finalists = [Finalist(n, f"{n:016x}", each, 0.3, (0.3, 0.4), 9, 1.0) for n, each in enumerate((run, other))]
    write_confirmation(store, sweep, confirm(finalists, "minimize", "parameters", 0.95, seed=0))
    finish_sweep(store, sweep, "", [])
    assert read_night(store, "flowers", sweep).answers == {0: answers}


def test_answers_of_another_format_are_left_out(store: Store, sweep: Sweep, data: PreparedData) -> None:
    run = log_trial(store, sweep, data, 0, [0.5, 0.3])
    client(store).log_dict(run, {"format": 99}, "held_out/answers.json")
    assert read_answers(store, run) is None


def test_the_page_tells_what_the_finalists_get_wrong_and_escapes_names() -> None:
    answers = FinalistAnswers("validation", 80, ("a", "b"), (of_classes(name=HOSTILE), of_quantities()), size_mb=0.5)
    subject = night(
        [result(n, score) for n, score in enumerate(SCORES)],
        confirmation=confirmation(0.95, 0.94),
        answers={0: answers},
    )
    page = drawn(subject)
    part = page.text.partition("What the finalists get wrong")[2].partition("Every trial")[0]
    assert "80 rows of the validation split" in part
    assert "expected calibration error" in part.lower()
    assert "0.5\u00a0MB" in part
    assert "Trial 1: Its answers to the held-out rows are not recorded" in part
    assert "img" not in page.elements
    ids = [name for name in page.json["specs"] if name.startswith("answers-0-")]
    assert {each.split("-")[3] for each in ids} == {"matrix", "calibration", "errors", "truth", "bias"}
    cells = page.json["specs"]["answers-0-0-matrix"]["layer"][0]["data"]["values"]
    assert sum(each["share"] for each in cells) == pytest.approx(2.0)
    assert HOSTILE in cells[0]["told"]


def test_the_page_names_the_heads_whose_rows_have_weights() -> None:
    heads = (of_classes(name="kind", is_weighted=True), replace(of_quantities(), name="amount"))
    weighed, all_rows = (
        drawn(
            night(
                [result(n, score) for n, score in enumerate(SCORES)],
                confirmation=confirmation(0.95, 0.94),
                answers={0: FinalistAnswers("validation", 80, ("a", "b"), heads, is_weighted=of_all)},
            )
        ).text
        for of_all in (False, True)
    )
    assert "validation split, for kind by their weights," in weighed
    assert "validation split, by their weights," in all_rows


def test_a_sweep_of_an_earlier_version_says_that_answers_are_not_recorded() -> None:
    page = drawn(night([result(n, score) for n, score in enumerate(SCORES)], confirmation=confirmation(0.95, 0.94)))
    assert "What the finalists get wrong is not recorded" in page.text
    without = drawn(night([result(n, score) for n, score in enumerate(SCORES)]))
    assert "What the finalists get wrong" not in without.text


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (HeadSummary(why="targets of several axes"), "is not shown"),
        (HeadSummary(kind="quantities"), "Nothing in the winner's 359"),
        (HeadSummary(kind="classes", examined=3), "No slice of the winner's 359"),
        (HeadSummary(kind="labels", examined=3, groups=(A_LABEL,)), "No slice or label of"),
        (HeadSummary(kind="classes", calibration=SOUND), "probabilities are not off"),
        (HeadSummary(kind="quantities", calibration=SOUND), "quantiles are not off"),
    ],
)
def test_the_heading_names_only_what_was_compared_with_chance(head: HeadSummary, words: str) -> None:
    subject = night(
        [result(0, 0.9)],
        confirmation=confirmation(0.95),
        answers={0: FinalistAnswers("validation", 359, ("a",), (head,))},
    )
    assert words in answers_heading(subject)
