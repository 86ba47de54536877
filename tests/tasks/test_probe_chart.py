"""The figure of a probe has a line for each optimizer, without what cannot be drawn, and is an SVG picture."""

import math
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from nightune.models.errors import InputError
from nightune.models.techniques.learning_rates.range_test import RangeTest
from nightune.tasks.probe_rates import _chart
from nightune.tasks.reporting.probe_chart import POINTS, probe_figure
from nightune.tasks.reporting.probe_report import StudyProbe, write_chart


def falling(updates: int, ends_in: float = 2.0) -> RangeTest:
    rates = np.geomspace(1e-6, 1.0, updates)
    losses = np.linspace(2.0, 1.0, updates)
    losses[-1] = ends_in
    return RangeTest(rates, losses, losses)


def test_each_optimizer_has_a_line_that_keeps_its_ends_and_a_mark_at_its_suggestion() -> None:
    figure = probe_figure("a <b> & it's", [("sgd", falling(5000)), ("adam", falling(40, ends_in=math.nan))])
    lines, rule, _ = figure.spec["layer"]
    drawn = {name: [row for row in lines["data"]["values"] if row["optimizer"] == name] for name in ("sgd", "adam")}
    assert len(drawn["sgd"]) == POINTS
    assert (drawn["sgd"][0]["rate"], drawn["sgd"][-1]["rate"]) == (1e-6, 1.0)
    assert len(drawn["adam"]) == 39
    assert [row["optimizer"] for row in rule["data"]["values"]] == ["sgd", "adam"]
    texts = [text.text for text in ET.fromstring(figure.svg).iter("{http://www.w3.org/2000/svg}text")]
    assert {"learning rate", "smoothed training loss", "sgd", "adam"} <= set(texts)
    assert any("a <b> & it's" in (text or "") for text in texts)


def test_a_probe_without_a_test_is_an_empty_picture() -> None:
    assert ET.fromstring(probe_figure("a", []).svg).tag == "{http://www.w3.org/2000/svg}svg"


@pytest.mark.parametrize("name", ["chart.pdf", "chart", "chart.svg.gz"])
def test_a_picture_of_another_format_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"\.svg or \.png"):
        probe_figure("a", [("sgd", falling(40))]).save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_picture_for_which_the_address_space_is_short_is_refused_and_the_numbers_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda _limited: (8 * 2**30, 8 * 2**30))
    with pytest.raises(InputError, match=r"ulimit -v.* 8\.0 GiB"):
        _ = probe_figure("a", []).svg
    probed = StudyProbe("a", Path("a.toml"), (), None)
    with pytest.raises(InputError, match=r"--plot.*ulimit -v"):
        write_chart(probed, tmp_path / "chart.svg")
    assert not list(tmp_path.iterdir())
    assert _chart(probed) == {}
    assert "no chart" in caplog.text
