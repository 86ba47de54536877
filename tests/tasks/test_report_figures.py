"""How the report draws scores: specifications of Vega-Lite, axes, ticks, and what cannot be drawn."""

import sys
from dataclasses import replace

import pytest

from nightune.models.errors import InputError
from nightune.tasks.reporting.night import charts_library as charts
from nightune.tasks.reporting.night.measure import measure_of
from nightune.tasks.reporting.night.record import Champion
from nightune.tasks.reporting.night.stills import Still
from tests.tasks.nights import (
    ACCURACY,
    SCORES,
    confirmation,
    drawn,
    failed,
    night,
    result,
)


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


def test_a_loss_keeps_its_unit_and_its_sign() -> None:
    measure = measure_of("val_loss", "minimize", (0.01, 0.5, 3.0), rows=None)
    assert measure.kind == "log"
    assert measure.text(0.012345) == "0.01235"
    assert measure.points(-0.5) == "\u22120.5"
    assert measure.drawn(-1.0) == pytest.approx(0.001)  # an interval's end below zero


def test_a_picture_that_cannot_be_drawn_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from nightune.tasks import draw_report

    monkeypatch.setattr(draw_report, "draw_stills", lambda _night: {"history": Still({"mark": "nonsense"})})
    finish = draw_report._stills(night([result(0, 0.9)]), lambda still: lambda: still.png)
    assert finish() == {}
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
