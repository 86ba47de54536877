"""Line charts are whole, small, deterministic SVG files."""

import math
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest

sys.path.insert(0, "docs")  # scripts, not a package

from line_charts import Chart, Line, draw

SVG = "{http://www.w3.org/2000/svg}"


def paths(chart: Chart) -> list[str]:
    """The lines' paths, without rules and marks."""
    root = ET.fromstring(draw(chart))
    return [path.attrib["d"] for path in root.iter(f"{SVG}path") if path.attrib.get("fill") == "none"]


def texts(chart: Chart) -> list[str]:
    return [text.text or "" for text in ET.fromstring(draw(chart)).iter(f"{SVG}text")]


def chart(*lines: Line, **more: object) -> Chart:
    return Chart("title", "x", "y", lines, **more)  # type: ignore[arg-type]


def test_a_straight_line_goes_from_corner_to_corner() -> None:
    (path,) = paths(chart(Line("a", [0.0, 1.0], [0.0, 1.0])))
    assert path.startswith("M64.0 ")
    assert path.split("L")[1].startswith("624.0 ")


def test_on_a_log_axis_equal_ratios_are_equal_distances() -> None:
    (path,) = paths(chart(Line("a", [1e-4, 1e-2, 1.0], [1.0, 2.0, 3.0]), is_log_x=True))
    xs = [float(point.split()[0]) for point in path[1:].split("L")]
    assert xs[2] - xs[1] == pytest.approx(xs[1] - xs[0], abs=0.1)
    assert {"0.0001", "0.01", "1"} <= set(texts(chart(Line("a", [1e-4, 1.0], [1.0, 2.0]), is_log_x=True)))


def test_values_that_cannot_be_drawn_are_left_out() -> None:
    (path,) = paths(chart(Line("a", [0.0, 1.0, 2.0, 3.0], [1.0, math.nan, math.inf, 2.0])))
    assert path.count("L") == 1
    assert ET.fromstring(draw(chart())).tag == f"{SVG}svg"
    assert ET.fromstring(draw(chart(Line("flat", [1.0, 1.0], [2.0, 2.0])))).tag == f"{SVG}svg"


def test_long_lines_are_thinned_and_keep_both_ends() -> None:
    xs = np.linspace(0.0, 1.0, 10_000).tolist()
    (path,) = paths(chart(Line("a", xs, xs)))
    assert path.count("L") <= 310
    assert path.startswith("M64.0 ")
    assert path.rsplit("L", 1)[1].startswith("624.0 ")


def test_steps_have_right_angles_and_names_are_escaped() -> None:
    (path,) = paths(chart(Line("a", [0.0, 1.0, 2.0], [1.0, 2.0, 1.0], is_step=True)))
    assert path.count("H") == path.count("V") == 2
    shown = texts(chart(Line("a < b", [0.0, 1.0], [0.0, 1.0]), Line("c & d", [0.0, 1.0], [1.0, 0.0])))
    assert {"a < b", "c & d"} <= set(shown)


def test_the_same_chart_is_the_same_text() -> None:
    drawn = chart(Line("a", [0.0, 0.1, 0.7], [1 / 3, 2 / 3, 0.1]), marks=[(0.1, "here")])
    assert draw(drawn) == draw(drawn)
    assert "here" in texts(drawn)
