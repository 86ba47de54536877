"""The figure of a probe: smoothed loss by learning rate, a line for each optimizer with a mark at its suggestion."""

import math
from collections.abc import Sequence

import numpy as np

from nightune.models.techniques.learning_rates.range_test import RangeTest
from nightune.tasks.reporting.night.measure import Spec
from nightune.tasks.reporting.night.stills import Still

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9", "#000000")  # safe if colour-blind
WIDTH, HEIGHT = 640, 300  # pixels
POINTS = 300  # of a line at most; more would not be visible


def probe_figure(study: str, tests: Sequence[tuple[str, RangeTest]]) -> Still:
    """Return the figure of the tests, by the name of their optimizer. Values that are not finite are left out."""
    names, rows = [name for name, _ in tests], [row for name, test in tests for row in _rows(name, test)]
    axis = _rate_axis(tests)
    marks = [{"optimizer": name, "rate": test.suggestion} for name, test in tests if test.suggestion is not None]
    return Still(
        {
            "title": {"text": f"{study}: loss by learning rate of each optimizer", "anchor": "start"},
            "background": "white",
            "width": WIDTH,
            "height": HEIGHT,
            "layer": [_lines(rows, names, axis), *_marks(marks, axis)],
        }
    )


def _rows(name: str, test: RangeTest) -> list[Spec]:
    pairs = zip(test.rates.tolist(), test.smoothed.tolist(), strict=True)
    drawn = [{"optimizer": name, "rate": rate, "loss": loss} for rate, loss in pairs if math.isfinite(loss)]
    kept = np.unique(np.linspace(0, len(drawn) - 1, min(POINTS, len(drawn))).astype(int))
    return [drawn[place] for place in kept]


def _lines(rows: list[Spec], names: list[str], x: Spec) -> Spec:
    legend = {"title": None, "orient": "top-right"} if len(names) > 1 else None
    return {
        "data": {"values": rows},
        "mark": {"type": "line", "strokeWidth": 2},
        "encoding": {
            "x": x,
            "y": {
                "field": "loss",
                "type": "quantitative",
                "title": "smoothed training loss",
                "scale": {"zero": False},
            },
            "color": {
                "field": "optimizer",
                "type": "nominal",
                "sort": None,
                "scale": {"domain": names, "range": [COLOURS[place % len(COLOURS)] for place in range(len(names))]},
                "legend": legend,
            },
        },
    }


def _marks(rows: list[Spec], x: Spec) -> list[Spec]:
    data = {"values": rows}
    rule = {"type": "rule", "color": "#444444", "strokeDash": [2, 3]}
    text = {"type": "text", "color": "#444444", "align": "left", "baseline": "bottom", "dx": 4, "dy": -4}
    return [
        {"data": data, "mark": rule, "encoding": {"x": x}},
        {
            "data": data,
            "mark": text,
            "encoding": {"x": x, "y": {"value": HEIGHT}, "text": {"field": "optimizer", "type": "nominal"}},
        },
    ]


def _rate_axis(tests: Sequence[tuple[str, RangeTest]]) -> Spec:
    """Return an axis with a line at each power of ten, or with Vega's own lines if it has less than two."""
    rates = [float(rate) for _, test in tests for rate in (test.rates[:1].tolist() + test.rates[-1:].tolist())]
    ends = (math.ceil(math.log10(min(rates)) - 1e-9), math.floor(math.log10(max(rates)) + 1e-9)) if rates else (0, 0)
    powers = [10.0**power for power in range(ends[0], ends[1] + 1)]
    return {
        "field": "rate",
        "type": "quantitative",
        "title": "learning rate",
        "scale": {"type": "log", "nice": False},
        "axis": {"format": ".3~g", **({"values": powers} if len(powers) > 1 else {})},
    }
