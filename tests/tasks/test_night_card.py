"""The report in short: one winner on every card, texts of users as text, a description that keeps what people wrote."""

import re
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs

import pytest

from nightune.phases import SEARCH, TRAINING
from nightune.tasks import publish_night
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.reporting.night.accounts import Accounts
from nightune.tasks.reporting.night.card import card, escaped
from nightune.tasks.reporting.night.data_part import since_part
from nightune.tasks.reporting.night.next_steps import Advice
from nightune.tasks.reporting.read_report import read_report
from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.artifacts import local_artifact
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.descriptions import BEGIN, END, ShortReport, write_description
from nightune.tasks.tracking.sweeps.origins import Origin, read_origin
from nightune.tasks.tracking.sweeps.profiles import DataProfile
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tuning.analysis.ledger import Ledger, Session, Training
from nightune.tuning.analysis.next_steps.steps import Step
from nightune.tuning.analysis.promotion_gate import Decision
from nightune.tuning.analysis.sweep_comparison import ComparedSweep, compare_nights
from tests.tasks.nights import ACCURACY, HOSTILE, SCORES, confirmation, log_trial, night, result, verdict

QUESTION = "Which rate is best?"


def described(store: Store, sweep: Sweep) -> str:
    return str(client(store).get_run(sweep.run_id).data.tags[names.MLFLOW_NOTE])


def test_a_card_has_the_answer_the_cost_the_steps_and_a_link() -> None:
    trainings = tuple(Training(number, 0, SEARCH, 4, 15.0) for number in range(len(SCORES)))
    session = Session("tune", 0.0, {SEARCH: {TRAINING: 90.0}}, trainings, price_per_hour=40.0)
    results = [result(number, score) for number, score in enumerate(SCORES)]
    subject = night(results, verdict=verdict(Decision.REFUSED, 3), accounts=Accounts(ledger=Ledger((session,))))
    text = card(subject, "flowers.toml", [Advice(Step("Search *lower* rates", "because"))])
    assert text.startswith("## The champion stays: trial 3")
    for words in ("cost 1.00", "1. Search \\*lower\\* rates", "sweep-run/artifacts/report/index.html"):
        assert words in text


def test_commands_are_parted_from_the_words_beside_them() -> None:
    text = card(night([result(0, 0.9), result(1, 0.8)]), "flowers.toml", [])
    assert " `nightune promote flowers.toml --sweep flowers-0` trains" in text


def test_texts_of_users_are_neither_markup_nor_markdown() -> None:
    assert escaped("a_b *c* <img> `d` [e](f)\n# g") == r"a\_b \*c\* &lt;img&gt; \`d\` \[e\](f) \# g"
    text = card(night([result(0, 0.9), result(1, 0.8)]), f"{HOSTILE}.toml", [])
    assert "<img" not in text.replace("`", "").partition("nightune")[0]


def test_the_cards_of_a_night_name_one_winner(
    store: Store, sweep: Sweep, data: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best of the search is trial 1, and the confirmed winner trial 0."""
    made: list[dict[str, Any]] = []
    for name in ("create_table_artifact", "create_markdown_artifact", "create_link_artifact"):
        monkeypatch.setattr(publish_night, name, lambda **given: made.append(given))
    log_trial(store, sweep, data, 0, [0.5, 0.3])
    log_trial(store, sweep, data, 1, [0.4, 0.2])
    judged = verdict(Decision.PROMOTED, 0, None)
    subject = replace(night([result(0, 0.9), result(1, 0.95)]), confirmation=confirmation(0.9, 0.8), verdict=judged)
    publish_night.publish_leaderboard.fn(read_report(store, "flowers", sweep))
    publish_night.publish_verdict.fn("flowers", SimpleNamespace(verdict=judged))  # type: ignore[arg-type]
    publish_night.publish_card.fn("flowers", "a headline", card(subject, "flowers.toml", []))
    by_key = {each["key"]: each for each in made}
    table = by_key["flowers-leaderboard"]
    assert table["table"][0]["trial"] == 1
    assert table["table"][0]["rank in the search"] == 1
    assert "flowers-night" in table["description"]
    assert by_key["flowers-night"]["markdown"].startswith("## Trial 0 became the champion")
    assert "Trial 0 of flowers-0" in by_key["flowers-verdict"]["markdown"]


def test_the_description_of_a_run_keeps_what_people_wrote_around_the_report(store: Store, sweep: Sweep) -> None:
    write_description(store, sweep, QUESTION, ShortReport("first"))
    assert described(store, sweep).startswith(f"{QUESTION}\n\n{BEGIN}\nfirst\n{END}")
    client(store).set_tag(sweep.run_id, names.MLFLOW_NOTE, f"Mine.\n\n{BEGIN}\nfirst\n{END}\n\nAlso mine.")
    write_description(store, sweep, QUESTION, ShortReport("second"))
    assert described(store, sweep) == f"Mine.\n\n{BEGIN}\nsecond\n{END}\n\nAlso mine."
    write_description(store, sweep, QUESTION, ShortReport("x" * 9000))
    assert len(described(store, sweep)) <= names.TAG_LENGTH
    assert described(store, sweep).endswith("Also mine.")


def test_stills_are_artifacts_that_the_description_shows_whole_however_long_the_text_is(
    store: Store, sweep: Sweep
) -> None:
    stills = {"history": b"PNG 1", "importance": b"PNG 2"}
    for text in ("short", "x" * 9000):
        write_description(store, sweep, QUESTION, ShortReport(text, stills=stills))
        note = described(store, sweep)
        shown = [parse_qs(query) for query in re.findall(r"!\[\w+\]\(get-artifact\?([^)]*)\)", note)]
        assert [each["path"] for each in shown] == [["report/history.png"], ["report/importance.png"]]
        assert [each["run_uuid"] for each in shown] == 2 * [[sweep.run_id]]
        assert len(note) <= names.TAG_LENGTH
    file = local_artifact(store, sweep.run_id, "report/importance.png")
    assert file is not None
    assert file.read_bytes() == b"PNG 2"
    write_description(store, sweep, QUESTION, ShortReport("no effects", stills={"history": b"PNG 3"}))
    assert not file.exists()  # of an earlier report
    assert file.with_name("history.png").read_bytes() == b"PNG 3"
    write_description(store, sweep, QUESTION, ShortReport("no trial has a result"))
    assert "get-artifact" not in described(store, sweep)


def test_answer_and_next_step_are_the_first_tags_from_the_start(store: Store, sweep: Sweep) -> None:
    """MLflow's pages list tags in the order in which they were written first."""
    before = client(store).get_run(sweep.run_id).data.tags
    assert [before[name] for name in names.FOR_READERS] == 2 * [names.NOT_KNOWN]
    write_description(store, sweep, QUESTION, ShortReport("text", "trial 3 leads", "search lower rates"))
    tags = client(store).get_run(sweep.run_id).data.tags
    assert [tags[name] for name in names.FOR_READERS] == ["trial 3 leads", "search lower rates"]
    assert next(iter(tags)) == names.ANSWER


def test_the_question_of_a_sweep_is_that_of_its_study_after_a_report(store: Store, sweep: Sweep) -> None:
    before = read_origin(store, sweep).question
    write_description(store, sweep, before, ShortReport("an answer"))
    assert read_origin(store, sweep).question == before == QUESTION


@pytest.mark.parametrize(("metric", "scaled"), [("val_loss", False), ("val_mae", True), ("val_mae", False)])
def test_a_score_of_another_metric_or_unit_is_not_written_in_that_of_this_night(metric: str, scaled: bool) -> None:
    def compared(number: int, name: str, is_scaled: bool) -> ComparedSweep:
        content = {"data": {"scale_target": is_scaled}}
        return ComparedSweep(f"flowers-{number}", name, "minimize", {}, content, [result(0, 0.43)])

    since = compare_nights(compared(0, metric, scaled), compared(1, "val_mae", False))
    of_mae = replace(ACCURACY, id="flowers-1", metric="val_mae", direction="minimize")
    subject = replace(night([result(0, 0.43)], sweep=of_mae), accounts=Accounts(since=since))
    part = since_part(subject)
    assert part is not None
    is_alike = (metric, scaled) == ("val_mae", False)
    assert part["winners"][0]["search"].startswith("0.43")
    assert (metric in part["winners"][0]["search"]) != is_alike
    assert part["winners"][1]["search"] == "0.43"
    assert ("Its winner, trial 0" in card(subject, "a.toml", [])) == is_alike


@pytest.mark.parametrize(("task", "has_doubt"), [("multiclass", True), ("positions", False)])
def test_an_accuracy_of_positions_has_no_doubt_by_rows_and_a_fine_floor(task: str, has_doubt: bool) -> None:
    accounts = Accounts(profile=DataProfile("a.py", task, {"validation": 50}, {}))
    held = night([result(0, 0.998), result(1, 0.995)], origin=Origin(90.0, content={"data": {"source": "a.py:load"}}))
    subject = replace(held, accounts=accounts, row_counts={"validation": 50})
    assert ("50 held-out rows" in card(subject, "a.toml", [])) == has_doubt
    assert (subject.measure.drawn(0.998) == subject.measure.drawn(0.995)) == has_doubt
