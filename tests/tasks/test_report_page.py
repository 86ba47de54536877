"""The page of the report: true numbers, no foreign markup, no request, for every kind of sweep."""

import math
import re
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.reporting.night import charts_library as charts
from nightune.tasks.reporting.night.answer import headline
from nightune.tasks.reporting.night.page import Context, draw_page
from nightune.tasks.reporting.night.read_night import read_night
from nightune.tasks.reporting.night.tables import load_trials, summary
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.confirmations import write_confirmation
from nightune.tasks.tracking.sweeps.sweeps import Sweep, SweepStatus, finish_sweep
from nightune.tasks.tracking.sweeps.verdicts import write_verdict
from nightune.tasks.trial.crash_log import Crash
from nightune.tuning.analysis.promotion_gate import Decision, Guard
from nightune.tuning.trial import Status
from tests.conftest import kept_environment
from tests.tasks.nights import (
    ACCURACY,
    HOSTILE,
    SCORES,
    Page,
    confirmation,
    drawn,
    expressions,
    failed,
    log_trial,
    night,
    result,
    verdict,
)

LOSSES = ([0.5, 0.3], [0.4, 0.35], [0.9, 0.8])
UNFINISHED = replace(ACCURACY, status=SweepStatus.INTERRUPTED)


def test_numbers_equal_those_in_mlflow(store: Store, sweep: Sweep, data: PreparedData) -> None:
    runs = [log_trial(store, sweep, data, number, losses) for number, losses in enumerate(LOSSES)]
    finish_sweep(store, sweep, "", [])
    objectives = [client(store).get_run(run).data.metrics["objective"] for run in runs]
    subject = read_night(store, "flowers", sweep)
    page, numbers = drawn(subject), summary(subject)
    assert numbers["winner"]["objective"] == min(objectives)
    assert numbers["winner"]["run_id"] == runs[objectives.index(min(objectives))]
    assert numbers["median"] == median(objectives)
    assert {repr(objective) for objective in objectives} <= set(page.sort_values)
    assert [row["drawn"] for row in page.json["data"]] == objectives
    assert [row["trial"] for row in page.json["data"]] == ["0", "1", "2"]
    column = page.json["specs"]["curves-0"]["vconcat"][0]["layer"][1]["data"]["values"]
    points = client(store).get_metric_history(runs[0], "val_loss")
    assert [(row["epoch"], row["score"]) for row in column] == [(point.step, point.value) for point in points]
    assert all(any(run in address for address in page.addresses) for run in runs)
    assert subject.row_counts == data.sizes


def test_confirmation_and_verdict_are_read_from_mlflow(store: Store, sweep: Sweep, data: PreparedData) -> None:
    for number, losses in enumerate(LOSSES):
        log_trial(store, sweep, data, number, losses)
    finish_sweep(store, sweep, "", [])
    held = confirmation(0.31, 0.36, direction="minimize")
    write_confirmation(store, sweep, held)
    write_verdict(store, sweep, verdict(Decision.REFUSED, values=None), "question")
    subject = read_night(store, "flowers", sweep)
    assert subject.confirmation == held
    assert summary(subject)["winner"]["confirmed"] == held.finalists[0].finalist.mean
    assert summary(subject)["winner"]["interval"] == [held.finalists[0].low, held.finalists[0].high]
    assert summary(subject)["champion"] == {"version": 1, "confirmed_score": None}  # deleted since
    assert "champion stays" in headline(subject)


def test_the_winner_has_its_validation_metrics_beside_those_of_the_sealed_rows(
    store: Store, sweep: Sweep, data: PreparedData
) -> None:
    for number, losses in enumerate(LOSSES):
        log_trial(store, sweep, data, number, losses)
    finish_sweep(store, sweep, "", [])
    judged = verdict(Decision.REFUSED, test_metrics={"loss": 0.32, "accuracy": 0.9}, values=None)
    write_verdict(store, sweep, judged, "question")
    assert read_night(store, "flowers", sweep).reported == {"val_loss": 0.3}  # these trials have no accuracy


def test_a_verdict_without_finalists_is_on_the_page_with_its_notes() -> None:
    judged = verdict(Decision.REFUSED, 3, notes=("the label is 'malignant' where its probability is above 0.4",))
    page = drawn(night([result(n, score) for n, score in enumerate(SCORES)], verdict=judged))
    assert "The gate: refused" in page.text
    assert "a reason" in page.text
    assert judged.notes[0] in page.text
    assert "finalist" not in page.text.partition("How sure")[2].partition("Every trial")[0]


def test_a_trial_that_was_not_trained_has_no_epoch() -> None:
    large = result(1, math.nan, status=Status.OVER_LIMIT, best_epoch=0, epochs=0, message="over its limit")
    page = drawn(night([result(0, 0.9), large]))
    assert "3/4" in page.text
    assert "0/0" not in page.text


def test_the_page_promises_a_traceback_only_where_an_error_was_raised() -> None:
    crashed = Crash(2, 3, "SIGKILL, perhaps out of memory", is_final=True).message
    page = drawn(night([result(0, 0.9), failed(1, "ValueError: no"), failed(2, crashed)]))
    assert crashed in page.text
    assert page.text.count("with its traceback") == 1


def test_what_users_wrote_is_text_everywhere() -> None:
    results = [*(result(n, score) for n, score in enumerate(SCORES)), failed(6, f"ValueError: {HOSTILE}")]
    sweep = replace(ACCURACY, metric="val_accuracy", data_version=HOSTILE)
    guard = Guard(HOSTILE, False, HOSTILE)
    subject = night(results, sweep, verdict=verdict(Decision.FORCED, 3, because=HOSTILE, guards=(guard,)))
    html = draw_page(replace(subject, confirmation=confirmation(0.98, 0.97)), Context(f"{HOSTILE}.toml", HOSTILE))
    page = Page(html)
    assert "img" not in page.elements
    assert page.elements.count("script") == 4
    assert page.text.count(HOSTILE) > 10
    assert "54439" not in page.text  # a template in a text is not run
    assert HOSTILE[:40] in page.json["data"][0]["recipe"]
    inline = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', html, re.DOTALL)
    assert len(inline) == 2
    assert not any(re.search("[<>&\u2028\u2029]", text) for text in inline)
    assert not any("alert" in expression for expression in expressions(page.json["specs"]))


def test_the_page_asks_nothing_of_any_network() -> None:
    html = draw_page(
        night([result(n, score) for n, score in enumerate(SCORES)]), Context("flowers.toml", "sqlite:///a.db")
    )
    page = Page(html)
    assert all(address.startswith(("#", "data:", "/#/experiments/1/runs/")) for address in page.addresses)
    own = html.replace(charts.charts_library(), "")
    assert "//" not in own.replace("sqlite:///a.db", "").replace("// ", "")
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|WebSocket|sendBeacon", own)
    policy = re.search('http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'")
    assert "connect-src" not in policy[1]


def test_the_policy_allows_the_scripts_as_they_stand_in_the_page() -> None:
    import base64
    import hashlib

    html = draw_page(night([result(0, 0.5), result(1, 0.6)]), Context("flowers.toml", "sqlite:///a.db"))
    scripts = re.findall(r'<script type="module">(.*?)</script>', html, re.DOTALL)
    assert len(scripts) == 2
    for script in scripts:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"sha256-{digest}" in html.replace("&#43;", "+")


@pytest.mark.parametrize(
    ("subject", "words", "figures"),
    [
        (night([failed(0, "ValueError: a"), failed(1, "ValueError: a")]), ("2 failed", "2 trials failed"), set()),
        (night([result(0, 0.5), result(1, 0.7)]), ("Trial 1 leads", "not judged yet"), {"strip", "history"}),
        (night([result(0, 0.5)]), ("Trial 0 leads", "One trial"), {"strip", "history"}),
        (night([], UNFINISHED), ("No trial has ended yet", "interrupted"), set()),
        (night([], replace(ACCURACY, ended_by="hours = 0.001")), ("No trial fits", "hours = 0.001"), set()),
        (night([result(4, 0.5)], UNFINISHED), ("1 of 6 trials so far", "interrupted"), {"strip", "history"}),
        (night([result(0, 0.0), result(1, 0.0)]), ("0.0\u00a0%", "Every trial"), {"strip", "history"}),
        (night([result(0, 1.0), result(1, 1.0)]), ("100.0\u00a0%", "Every trial"), {"strip", "history"}),
        (
            night([result(0, 0.5), result(1, 0.9, status=Status.NOT_PROMOTED, epochs=1, best_epoch=1)]),
            ("dropped at a rung", "Every trial"),
            {"strip", "history"},
        ),
        (night([result(0, -2.0), result(1, 0.3)], replace(ACCURACY, metric="val_r2")), ("R²",), {"strip", "history"}),
        (night([result(0, 0.5)], curves={}), ("Trial 0",), {"strip", "history"}),
    ],
    ids=["failed", "two", "one", "empty", "unfinished", "no-room", "zeros", "ones", "rungs", "negative", "no-curves"],
)
def test_every_kind_of_sweep_has_a_page(subject: Any, words: tuple[str, ...], figures: set[str]) -> None:
    page = drawn(subject)
    assert all(word in page.text for word in words), page.text
    assert {name for name in page.json["specs"] if not name.startswith("curves-")} == figures


def test_code_of_the_page_reads_the_trials(store: Store, sweep: Sweep, data: PreparedData) -> None:
    for number, losses in enumerate(LOSSES):
        log_trial(store, sweep, data, number, losses)
    code, names = load_trials(read_night(store, "flowers", sweep), store.tracking_uri), dict[str, Any]()
    with kept_environment():
        exec(code, names)
        names["mlflow"].set_tracking_uri(None)
    assert list(names["trials"]["metrics.objective"]) == [0.3, 0.35, 0.8]


def test_a_thousand_trials_fit_into_the_page() -> None:
    results = [result(n, 0.5 + n / 3000) for n in range(1000)]
    assert len(draw_page(night(results), Context("flowers.toml", "sqlite:///a.db")).encode()) < 6e6
    assert len(draw_page(night(results[:100]), Context("flowers.toml", "sqlite:///a.db")).encode()) < 3e6


def test_the_command_writes_the_page_to_the_run_and_to_a_file(
    store: Store, sweep: Sweep, data: PreparedData, study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import json

    from typer.testing import CliRunner

    from nightune.flows.commands.main import app
    from tests.flows.conftest import SMALL_STUDY

    run = log_trial(store, sweep, data, 0, [0.5, 0.3])
    study.path.write_text(SMALL_STUDY)
    monkeypatch.setenv("NIGHTUNE_STORE", str(store.root))
    page = tmp_path / "page.html"
    done = CliRunner().invoke(app, ["report", str(study.path), "--output", str(page), "--json"])
    assert done.exit_code == 0, done.output
    numbers = json.loads(done.stdout.splitlines()[-1])
    assert (numbers["winner"]["run_id"], numbers["file"]) == (run, str(page))
    kept = client(store).download_artifacts(sweep.run_id, "report/index.html", str(tmp_path))
    assert Path(kept).read_text(encoding="utf-8") == page.read_text(encoding="utf-8")
    assert run in page.read_text(encoding="utf-8")
    assert "report/history.png" in {file.path for file in client(store).list_artifacts(sweep.run_id, "report")}
    unknown = CliRunner().invoke(app, ["report", str(study.path), "--sweep", "flowers-7"])
    assert unknown.exit_code == 3
    bad = CliRunner().invoke(app, ["report", str(study.path), "--output", str(tmp_path / "none" / "page.html")])
    assert bad.exit_code == 2
