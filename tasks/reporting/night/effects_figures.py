"""What mattered, as figures: the share of each dimension with its interval, and the scores along each dimension."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nightune.tasks.reporting.night.figures import (
    ACCENT,
    BAND,
    DOT,
    INK,
    SOFT,
    dimension_field,
    field,
    frame,
    text_layer,
    tooltips,
    values,
)
from nightune.tasks.reporting.night.measure import SPACE, Spec
from nightune.tasks.reporting.night.record import Night
from nightune.tuning.analysis.effects import GRID, Effect
from nightune.tuning.analysis.value_text import value_text
from nightune.tuning.search.domains import Cases, Choice, Range

HEIGHT = 150
ROW = 36  # pixels of a bar with its name
OPTION_CHARACTERS = 16
MOST_IN_LINE, NAMES_WIDTH, NAME_HEIGHT = 3, 240, 20  # options, and pixels of their names
POINTS = 64  # of the line along a range


def importance(effects: Sequence[Effect], after: str = "") -> Spec:
    """Return the shares of the variance as bars, with 80 % intervals; names stand above them, for narrow pages.

    `after` are the epochs at which trials are compared, in words.
    """
    rows = [
        {
            "name": each.name,
            "zero": 0,
            "share": 100 * each.share,
            "low": 100 * each.share_low,
            "high": 100 * each.share_high,
            "matters": each.matters,
            "text": f"{100 * each.share:.0f}{SPACE}%",
            "note": f"{each.name}, active in {each.trials} trials" if each.dimension.when else each.name,
        }
        for each in effects
    ]
    top = max(10.0, 1.02 * max(100 * each.share_high for each in effects))
    axis: Spec = {"title": f"share of the differences between trials{after}", "labelExpr": f"datum.label + '{SPACE}%'"}
    axis |= {"tickCount": 5, "grid": True, "domain": False, "ticks": False}
    x = field("share", scale={"domain": [0, top], "nice": False}, axis=axis)
    y = field("name", "nominal", sort=[row["name"] for row in rows], axis=None)
    colour = {"condition": {"test": "datum.matters", "value": INK}, "value": DOT}
    bar, rule = {"type": "bar", "height": 8, "yOffset": 7}, {"type": "rule", "color": SOFT, "yOffset": 7}
    layers: list[Spec] = [
        {"data": values(rows), "mark": bar, "encoding": {"x": x, "y": y, "color": colour}},
        {"data": values(rows), "mark": rule, "encoding": {"x": {**x, "field": "low"}, "x2": {"field": "high"}, "y": y}},
        text_layer(rows, {**x, "field": "high"}, y, dx=6, dy=7),
        text_layer([{**row, "text": row["note"]} for row in rows], {**x, "field": "zero"}, y, dy=-7),
    ]
    spec = frame(layers, ROW * len(rows) + 44, top=0)
    return spec | {"padding": {"left": 0, "right": 44, "top": 0, "bottom": 0}}


def isolation(night: Night, effect: Effect) -> Spec:
    """Return the compared scores along a dimension: each trial, and what is expected with all others averaged out."""
    m, ends = night.measure, night.measure.ends(night.compared_reach, 0.08)
    y = field("compared", scale=m.scale(ends), axis=m.axis(ends, is_small=True))
    x, rows, marks = (
        _along_options(night, effect) if isinstance(effect.dimension.domain, Choice) else _along(night, effect)
    )
    band, line, more = marks
    place = dimension_field(night, effect.name)
    dots = {
        "data": {"name": "trials"},
        "transform": [{"filter": f"isValid(datum.{place})"}],
        "mark": {"type": "point", "filled": True, "opacity": 0.9},
        "encoding": {
            "x": {**x, "field": place},
            "y": y,
            "color": {"condition": {"test": "datum.kind == 'winner'", "value": ACCENT}, "value": DOT},
            "size": {"condition": {"test": "datum.kind == 'winner'", "value": 90}, "value": 24},
            "tooltip": tooltips(m, night.after_epochs),
        },
    }
    around = {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, **more}
    layers: list[Spec] = [
        {"data": values(rows), "mark": band, "encoding": around},
        dots,
        {"data": values(rows), "mark": line, "encoding": {"x": x, "y": {**y, "field": "middle"}, **more}},
    ]
    names = _option_names(rows, x) if more else []  # an axis would need what users wrote in an expression
    bottom = NAME_HEIGHT * len(names)
    spec = frame([*layers, *names], HEIGHT + bottom, top=4)
    return spec | {"padding": {"left": 0, "right": 6, "top": 4, "bottom": bottom}}


def _option_names(rows: list[Spec], x: Spec) -> list[Spec]:
    """Return the names of options below the plot, many of them in two lines by turns."""
    lines = 1 if len(rows) <= MOST_IN_LINE else 2
    encoding = {"x": x, "y": {"value": "height"}, "text": {"field": "text"}}
    shape = {"type": "text", "fontSize": 12, "color": SOFT, "baseline": "top", "clip": False}
    return [
        {
            "data": values([{"x": row["centre"], "text": row["name"]} for row in rows[line::lines]]),
            "mark": {**shape, "dy": 8 + 14 * line, "limit": lines * NAMES_WIDTH // len(rows)},
            "encoding": encoding,
        }
        for line in range(lines)
    ]


Along = tuple[Spec, list[Spec], tuple[Spec, Spec, Spec]]  # the x axis, rows of the line, and marks with more encodings


def _along_options(night: Night, effect: Effect) -> Along:
    domain = effect.dimension.domain
    assert isinstance(domain, Choice)
    last = len(domain.options) - 1
    axis = {"title": None, "labels": False, "ticks": False, "grid": False}
    x = field("x", scale={"domain": [-0.5, last + 0.5], "nice": False}, axis=axis)
    rows = []
    for number, option in enumerate(domain.options):
        near = int(np.argmin(np.abs(GRID - domain.to_unit(option))))
        bounds = {"centre": number, "x": number - 0.4, "x2": number + 0.4}
        rows.append({"name": value_text(option, OPTION_CHARACTERS), **bounds, **_scores(night, effect, near)})
    marks = ({"type": "rect", "color": BAND}, {"type": "rule", "color": INK, "strokeWidth": 2}, {"x2": {"field": "x2"}})
    return x, rows, marks


def _along(night: Night, effect: Effect) -> Along:
    domain = effect.dimension.domain
    points = range(0, len(GRID), len(GRID) // POINTS)
    if isinstance(domain, Cases):
        places = [float(GRID[n]) for n in points]
        labels = {"values": [0, 1], "labelExpr": "datum.value == 0 ? 'low end' : 'high end'", "labelFlush": True}
        x = field("x", scale={"domain": [0, 1], "nice": False}, axis={"title": None, **labels})
    else:
        assert isinstance(domain, Range)
        places = [value_at(domain, float(GRID[n])) for n in points]
        x = field("x", scale=range_scale(domain), axis=range_axis(domain))
    rows = [{"x": place, **_scores(night, effect, n)} for place, n in zip(places, points, strict=True)]
    line = {"type": "line", "color": INK, "strokeWidth": 2, "clip": True}
    return x, rows, ({"type": "area", "color": BAND, "clip": True}, line, {})


def _scores(night: Night, effect: Effect, point: int) -> Spec:
    curves: dict[str, Any] = {"middle": effect.middle, "low": effect.low, "high": effect.high}
    return {name: night.measure.bent(float(curve[point])) for name, curve in curves.items()}


def value_at(domain: Range, place: float) -> float:
    """Return the value at a place, without rounding to whole numbers."""
    if domain.scale == "log":
        return float(domain.low * (domain.high / domain.low) ** place)
    return domain.low + (domain.high - domain.low) * place


def range_scale(domain: Range) -> Spec:
    kind: Spec = {"type": "log"} if domain.scale == "log" else {"type": "linear", "zero": False}
    return {**kind, "domain": [domain.low, domain.high], "nice": False}


def range_axis(domain: Range) -> Spec:
    form = "~e" if domain.scale == "log" and domain.low < 0.1 else "~g"
    axis: Spec = {"title": None, "labelExpr": f"format(datum.value, '{form}')", "tickCount": 4, "labelFlush": True}
    if domain.scale == "log":
        exponents = range(math.ceil(math.log10(domain.low) - 1e-9), math.floor(math.log10(domain.high) + 1e-9) + 1)
        decades = [10.0**exponent for exponent in exponents]
        axis["values"] = decades if len(decades) > 1 else [domain.low, domain.high]
    return axis
