"""The page of the report: true numbers, no foreign markup, no request, for every kind of sweep."""

import math
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from nightune.models.errors import InputError
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.reporting.night import charts_library as charts
from nightune.tasks.reporting.night.answer import answer, headline
from nightune.tasks.reporting.night.measure import measure_of
from nightune.tasks.reporting.night.page import Context, draw_page
from nightune.tasks.reporting.night.phrases import sentence_parts
from nightune.tasks.reporting.night.read_night import read_night
from nightune.tasks.reporting.night.record import Champion
from nightune.tasks.reporting.night.stills import Still
from nightune.tasks.reporting.night.tables import commands, load_trials, summary
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.confirmations import write_confirmation
from nightune.tasks.tracking.sweeps.engines import record_engine
from nightune.tasks.tracking.sweeps.origins import Origin, read_origin
from nightune.tasks.tracking.sweeps.sweeps import Sweep, SweepStatus, finish_sweep
from nightune.tasks.tracking.sweeps.verdicts import write_verdict
from nightune.tasks.tracking.trials.recorded import RecordedTrial
from nightune.tuning.analysis.metric_values import MetricValues
from nightune.tuning.analysis.paired_gain import Gain
from nightune.tuning.analysis.promotion_gate import Decision, Guard
from nightune.tuning.trial import Status
from tests.conftest import kept_environment
from tests.tasks.nights import (
    ACCURACY,
    HOSTILE,
    SCORES,
    Page,
    confirmation,
    failed,
    log_trial,
    night,
    result,
    verdict,
)

LOSSES = ([0.5, 0.3], [0.4, 0.35], [0.9, 0.8])
EXPRESSIONS = ("test", "calculate", "filter", "labelExpr", "expr", "signal", "update")
UNFINISHED = replace(ACCURACY, status=SweepStatus.INTERRUPTED)


def drawn(subject: Any) -> Page:
    return Page(draw_page(subject, Context("flowers.toml", "sqlite:///mlruns/mlflow.db")))


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


def test_the_doubt_of_folds_is_pooled_as_in_the_terminal() -> None:
    subject = night([result(n, score) for n, score in enumerate((0.9, 0.89, 0.5, 0.4))])
    errors = (0.0, 0.02, 0.5, None)  # of the winner, three folds agree by chance
    trials = [replace(each, standard_error=error) for each, error in zip(subject.trials, errors, strict=True)]
    content = {"data": {"split": {"folds": 3}}}
    said = " ".join(answer(replace(subject, trials=tuple(trials), origin=Origin(90.0, content=content)), "a.toml"))
    reach = 100 * math.sqrt((0.0**2 + 0.02**2) / 2) * 4.3027  # Student's t of two degrees
    assert f"±{reach:.1f}\u00a0points" in said


def test_a_trial_that_was_not_trained_has_no_epoch() -> None:
    large = result(1, math.nan, status=Status.OVER_LIMIT, best_epoch=0, epochs=0, message="over its limit")
    page = drawn(night([result(0, 0.9), large]))
    assert "3/4" in page.text
    assert "0/0" not in page.text


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


def expressions(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from [each] if key in EXPRESSIONS and isinstance(each, str) else expressions(each)
    elif isinstance(value, list):
        for each in value:
            yield from expressions(each)


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


@pytest.mark.parametrize(
    ("changes", "start"),
    [
        ({"verdict": verdict(Decision.PROMOTED), "version": 2, "serving": 2}, "Trial 0 became the champion"),
        ({"verdict": verdict(Decision.FORCED, because="demo")}, "Trial 0 was made champion by hand"),
        ({"verdict": verdict(Decision.REFUSED)}, "The champion stays: trial 0"),
        (
            {"verdict": verdict(Decision.REFUSED, against=None)},
            "Trial 0, with 97.0\u00a0% accuracy on 360 sealed rows, is not promoted",
        ),
        ({}, "Trial 0 leads with 98.0\u00a0% accuracy over 3 fresh seeds; not judged yet"),
    ],
)
def test_the_headline_is_the_verdict(changes: dict[str, Any], start: str) -> None:
    results = [result(n, score) for n, score in enumerate(SCORES)]
    assert headline(night(results, confirmation=confirmation(0.98, 0.93), **changes)).startswith(start)


def test_the_answer_says_what_won_by_how_much_and_how_sure() -> None:
    results = [result(n, score) for n, score in enumerate(SCORES)]
    subject = night(
        results,
        confirmation=confirmation(0.98, 0.93),
        champion=Champion(1, 0.975, 0.97, 0.98),
        verdict=verdict(Decision.REFUSED),
    )
    won, sure, judged = (sentence.replace("\u00a0", " ") for sentence in answer(subject, "flowers.toml"))
    assert "98.0 % accuracy on held-out rows over 3 fresh seeds" in won
    assert "2.9 points better than the median of 6 trials" in won  # the median of SCORES is 0.951
    assert "0.5 points better than champion version 1" in won
    assert f"{100 * subject.confirmed.low:.1f} % to" in sure  # type: ignore[union-attr]
    assert "97.0 % accuracy, the champion has 96.0 %" in judged
    assert "between \u22120.2 and 2.2 points" in judged
    assert "champion stays" in judged


def test_a_trial_in_a_sentence_has_the_link_to_its_run() -> None:
    subject = night([result(n, score) for n, score in enumerate(SCORES)])
    parts = sentence_parts(subject, "Trial 3 leads, trial\u00a04 and trial 99 follow: `nightune show trial 3`.")
    links = {part.text: part.link for part in parts if part.link}
    assert links == {"Trial 3": subject.link("run-3"), "trial\u00a04": subject.link("run-4")}
    assert [part.text for part in parts if part.is_code] == ["nightune show trial 3"]


def test_commands_name_the_sweep_and_the_options_that_it_was_trained_with() -> None:
    subject = night([result(0, 0.5)], origin=Origin(started=90.0, overrides=("--trials", "60")))
    assert "nightune tune 'my study.toml' --trials 60 --fresh" in commands(subject, "my study.toml")
    assert "nightune promote 'my study.toml' --sweep flowers-0" in commands(subject, "my study.toml")
    assert "<code>nightune promote flowers.toml --sweep flowers-0</code>" in draw_page(
        subject, Context("flowers.toml", "")
    )


def test_overrides_of_the_command_line_are_read_from_the_store(store: Store, sweep: Sweep) -> None:
    client(store).log_text(sweep.run_id, "[search]\nmethod = 'random'\ntrials = 9\nepochs = 2\n", "study/flowers.toml")
    assert read_origin(store, sweep).overrides == ("--trials", "3", "--seed", "7")
    client(store).log_text(sweep.run_id, "seed = 7\n[search]\ntrials = 3\nepochs = 5\n", "study/flowers.toml")
    assert read_origin(store, sweep).overrides == ("--epochs", "2")


@pytest.mark.parametrize(
    ("engine", "reason", "option"),
    [
        ("fit", "as asked", ("--engine", "fit")),
        ("jax", "as asked; weights match fit's", ("--engine", "compiled")),
        ("jax", "weights match fit's", ()),
        ("fit", "40 programs for 40 trials", ()),
    ],
)
def test_an_engine_that_was_asked_for_is_asked_for_again(
    engine: str, reason: str, option: tuple[str, ...], store: Store, sweep: Sweep
) -> None:
    """`auto` weighs what programs cost, and may choose another one."""
    record_engine(store, sweep, engine, reason)
    assert read_origin(store, sweep).overrides == ("--seed", "7", *option)


def test_code_of_the_page_reads_the_trials(store: Store, sweep: Sweep, data: PreparedData) -> None:
    for number, losses in enumerate(LOSSES):
        log_trial(store, sweep, data, number, losses)
    code, names = load_trials(read_night(store, "flowers", sweep), store.tracking_uri), dict[str, Any]()
    with kept_environment():
        exec(code, names)
        names["mlflow"].set_tracking_uri(None)
    assert list(names["trials"]["metrics.objective"]) == [0.3, 0.35, 0.8]


def test_a_champion_of_later_is_named() -> None:
    subject = night([result(0, 0.98)], verdict=verdict(Decision.PROMOTED, against=None), version=1, serving=3)
    assert "Since then version 3 has become champion." in answer(subject, "flowers.toml")[-1]


def test_figures_are_specifications_of_vega_lite() -> None:
    import vl_convert

    results = [*(result(n, score) for n, score in enumerate(SCORES)), failed(6, "ValueError: a")]
    champion = Champion(1, 0.975, 0.97, 0.98)
    page = drawn(night(results, confirmation=confirmation(0.98, 0.97), champion=champion))
    specs = page.json["specs"]
    assert {"strip", "history", "finalists", "curves-3"} <= set(specs)
    for name in ("strip", "history", "finalists", "curves-3"):
        spec = {**specs[name], "datasets": {"trials": page.json["data"]}}
        assert vl_convert.vegalite_to_vega(spec, vl_version=charts.VEGA_LITE)["marks"]


def test_a_missing_library_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    charts._bundle.cache_clear()
    with pytest.raises(InputError, match="pip install vl-convert-python"):
        drawn(night([result(0, 0.5)]))


def test_a_thousand_trials_fit_into_the_page() -> None:
    results = [result(n, 0.5 + n / 3000) for n in range(1000)]
    assert len(draw_page(night(results), Context("flowers.toml", "sqlite:///a.db")).encode()) < 6e6
    assert len(draw_page(night(results[:100]), Context("flowers.toml", "sqlite:///a.db")).encode()) < 3e6


@pytest.mark.parametrize("scores", [(0.5, 0.98), (0.2, 0.4), (1.0, 1.0)])
def test_shares_are_drawn_between_the_ends_of_their_axis(scores: tuple[float, ...]) -> None:
    measure = measure_of("val_accuracy", "maximize", scores, rows=100)
    worse, better = measure.ends(scores)
    assert (worse > better) == (measure.kind == "missing")
    assert all(min(worse, better) <= measure.drawn(score) <= max(worse, better) for score in scores)


def test_a_score_near_one_is_drawn_by_what_is_missing() -> None:
    measure = measure_of("val_accuracy", "maximize", (0.5, 0.98), rows=100)
    assert measure.drawn(0.98) == pytest.approx(2.0)
    assert measure.drawn(1.0) == 0.5  # half a row
    assert measure.text(0.98) == "98.0\u00a0%"


def test_scores_of_a_narrow_reach_have_two_ticks() -> None:
    measure = measure_of("val_accuracy", "maximize", (0.933, 0.944), rows=1000)
    ticks = measure.axis(measure.ends((0.933, 0.944)))["values"]
    assert len(ticks) >= 2
    assert all(5.0 < tick < 7.5 for tick in ticks)


def test_a_scaled_target_is_named_beside_the_sealed_rows_unit() -> None:
    values = MetricValues("val_rmse", "minimize", 56.0, 81.0, None)
    gain = Gain(25.0, 16.0, 35.0, 0.95, 56.0, 81.0, 3, 1, 88, 0.1)
    subject = night(
        [result(n, score) for n, score in enumerate((0.7, 0.8, 0.9))],
        replace(ACCURACY, metric="val_rmse", direction="minimize"),
        origin=Origin(started=90.0, content={"data": {"scale_target": True}}),
        verdict=verdict(Decision.PROMOTED, against=None, values=values, baseline=gain),
    )
    won, *_, judged = answer(subject, "flowers.toml")
    assert "standard deviations of the target" in won
    assert "56 root mean squared error in units of the target" in judged


def test_a_loss_of_sealed_rows_is_told_from_that_of_a_scaled_target() -> None:
    values = MetricValues("val_loss", "minimize", 4.8e8, 4.4e10, None)
    gain = Gain(4e10, 3e10, 5e10, 0.95, 4.8e8, 4.4e10, 3, 1, 88, 0.1)
    subject = night(
        [result(n, score) for n, score in enumerate((0.007, 0.008, 0.009))],
        replace(ACCURACY, metric="val_loss", direction="minimize"),
        origin=Origin(started=90.0, content={"data": {"scale_target": True}}),
        verdict=verdict(Decision.PROMOTED, against=None, values=values, baseline=gain),
    )
    assert "loss of the unscaled target" in answer(subject, "flowers.toml")[-1]
    assert "loss of the unscaled target" in headline(subject)
    plain = replace(subject, origin=Origin(started=90.0, content={"data": {}}))
    assert "unscaled" not in " ".join(answer(plain, "flowers.toml"))


def test_an_interval_of_a_share_ends_at_its_ends() -> None:
    subject = night([result(0, 0.99), result(1, 0.98)], confirmation=confirmation(0.999, 0.95))
    assert "to 100.0\u00a0%" in answer(subject, "flowers.toml")[1]


def test_a_loss_keeps_its_unit_and_its_sign() -> None:
    measure = measure_of("val_loss", "minimize", (0.01, 0.5, 3.0), rows=None)
    assert measure.kind == "log"
    assert measure.text(0.012345) == "0.01235"
    assert measure.points(-0.5) == "\u22120.5"
    assert measure.drawn(-1.0) == pytest.approx(0.001)  # an interval's end below zero


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


def test_a_picture_that_cannot_be_drawn_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from nightune.tasks import draw_report

    monkeypatch.setattr(draw_report, "draw_stills", lambda _night: {"history": Still({"mark": "nonsense"})})
    assert draw_report._stills(night([result(0, 0.9)])) == {}
    assert "no pictures" in caplog.text


def test_scores_beyond_the_axis_are_drawn_at_its_end_and_said() -> None:
    far = night(
        [result(n, score) for n, score in enumerate((-40.0, 0.3, 0.31, 0.32, 0.33))], replace(ACCURACY, metric="val_r2")
    )
    page = drawn(far)
    assert "Triangles" in page.text
    layers = page.json["specs"]["history"]["layer"]
    line = next(each["data"]["values"] for each in layers if dict(each["mark"])["type"] == "line")
    first = next(row for row in page.json["data"] if row["trial"] == "0")
    assert first["beyond"]
    assert line[0]["drawn"] == first["drawn"]


def test_an_edited_study_is_said_beside_the_command() -> None:
    subject = night([result(0, 0.5)])
    assert "has changed since" in commands(subject, "s.toml", is_edited=True)
    assert "has changed since" not in commands(subject, "s.toml")


def test_seeds_that_had_no_part_in_the_choice_are_told_apart() -> None:
    later = tuple(
        RecordedTrial(replace(result(0, 0.9), trial=replace(result(0, 0.9).trial, replicate=number)), ended=200.0)
        for number in (1, 2, 3, 4, 5)
    )
    subject = night([result(0, 0.98), result(1, 0.9)], confirmation=confirmation(0.98, 0.9), replicates=later)
    assert "2 more seeds" in " ".join(answer(subject, "s.toml"))
