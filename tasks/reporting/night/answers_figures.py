"""How a finalist answers the held-out rows, as figures: confusion, calibration, and errors of quantities.

Texts of users are data of the figures, never parts of an expression.
"""

from collections.abc import Sequence

from nightune.tasks.reporting.night.figures import (
    ACCENT,
    CHAMPION,
    DOT,
    INK,
    LINE,
    SOFT,
    field,
    frame,
    text_layer,
    values,
)
from nightune.tasks.reporting.night.measure import LONG_LABEL, Spec
from nightune.tuning.analysis.held_out.summary import Bin, Calibration, Residuals

LABEL_WIDTH = 92  # pixels of the names of classes beside the matrix
CELL, LEAST_CELL = 34, 13  # pixels of a row of the matrix
MOST_PIXELS = 420
MOST_COUNTS = 14  # classes, above which cells are too small for their counts
HEIGHT = 250
UNITS = {"title": None, "tickCount": 5}


def confusion(names: Sequence[str], matrix: Sequence[Sequence[float]]) -> Spec:
    """Return the rows by true class, downwards, and predicted class: shares of the true class as tints, and counts."""
    count = len(names)
    height = max(LEAST_CELL * count, min(CELL * count, MOST_PIXELS))
    ends = {"domain": [-0.5, count - 0.5], "nice": False}
    x, y = field("x", scale=ends, axis=None), field("y", scale={**ends, "reverse": True}, axis=None)
    rows = _cells(names, matrix)
    layers: list[Spec] = [_tints(rows, x, y)]
    if count <= MOST_COUNTS:
        places = {**x, "field": "middle"}, {**y, "field": "centre"}
        layers.append(text_layer(rows, *places, align="center", fontSize=11))
    is_upright = count * max(map(len, names)) > 40
    below = LABEL_WIDTH if is_upright else 24
    layers += _class_names(names, x, y, is_upright)
    spec = frame(layers, height + below, top=4)
    return spec | {"padding": {"left": LABEL_WIDTH, "right": 4, "top": 4, "bottom": below}}


def _cells(names: Sequence[str], matrix: Sequence[Sequence[float]]) -> list[Spec]:
    """Return each cell of the matrix: its edges and middle, the share of its true class, and its words."""
    return [
        {
            "x": place - 0.5,
            "x2": place + 0.5,
            "y": truth - 0.5,
            "y2": truth + 0.5,
            "middle": place,
            "centre": truth,
            "share": number / max(sum(counts), 1e-12),
            "text": mean_count(number) if number else "",
            "is_right": truth == place,
            "told": f"{names[truth]} → {names[place]}",
        }
        for truth, counts in enumerate(matrix)
        for place, number in enumerate(counts)
    ]


def _tints(rows: list[Spec], x: Spec, y: Spec) -> Spec:
    """Return the cells in the colour of right or wrong answers, the stronger the larger their share."""
    shown = (("told", "class"), ("text", "rows"))
    return {
        "data": values(rows),
        "mark": {"type": "rect", "stroke": LINE, "strokeWidth": 0.5},
        "encoding": {
            "x": x,
            "x2": {"field": "x2"},
            "y": y,
            "y2": {"field": "y2"},
            "color": {"condition": {"test": "datum.is_right", "value": CHAMPION}, "value": ACCENT},
            "opacity": field("share", scale={"type": "sqrt", "domain": [0, 1], "range": [0, 0.8]}, legend=None),
            "tooltip": [field(name, "nominal", title=title) for name, title in shown],
        },
    }


def _class_names(names: Sequence[str], x: Spec, y: Spec, is_upright: bool) -> list[Spec]:
    """Return the names of the classes beside the matrix and below it, there upright if they are long."""
    named = [{"text": name, "x": place, "y": place} for place, name in enumerate(names)]
    turned = {"angle": -90, "align": "right", "dx": -6} if is_upright else {"align": "center", "dy": 12}
    limit = {"limit": LABEL_WIDTH - 8, "color": SOFT, "fontSize": 11}
    return [
        text_layer(named, {"value": -6}, y, **{"align": "right"} | limit),
        text_layer(named, x, {"value": "height"}, **turned | limit),
    ]


def calibration(found: Calibration, is_share: bool) -> Spec:
    """Return what was observed by what was predicted, a dot for each bin, on the diagonal where both agree."""
    factor = 100.0 if is_share else 1.0
    rows = [_bin_row(each, factor) for each in found.bins]
    low, high = (0.0, 100.0) if is_share else _ends([row[name] for row in rows for name in ("x", "y")])
    scale = {"domain": [low, high], "nice": False}
    suffix = " + '\u00a0%'" if is_share else ""
    axis = _axis(max(abs(low), abs(high)), suffix)
    x = field("x", scale=scale, axis={**axis, "title": "predicted"})
    y = field("y", scale=scale, axis={**axis, "grid": True})
    diagonal = [{"x": low, "y": low}, {"x": high, "y": high}]
    dot = {"type": "circle", "color": INK, "opacity": 0.85}
    size = field("rows", scale={"range": [18, 260]}, legend=None)
    tips = [field(name, "nominal", title=name) for name in ("predicted", "observed", "count")]
    layers: list[Spec] = [
        _line(diagonal, x, y),
        {"data": values(rows), "mark": dot, "encoding": {"x": x, "y": y, "size": size, "tooltip": tips}},
        text_layer(
            [{**row, "text": row["count"]} for row in rows], x, y, dy=-14, align="center", color=SOFT, fontSize=11
        ),
    ]
    return frame(layers, HEIGHT, top=16)


def errors(found: Residuals) -> Spec:
    """Return how often errors of a size occur, 0 marked."""
    pairs = zip(found.edges[:-1], found.edges[1:], found.counts, strict=True)
    rows = [{"x": low, "x2": high, "rows": count, "text": f"{low:.3g} to {high:.3g}"} for low, high, count in pairs]
    low, high = found.edges[0], found.edges[-1]
    zero = 0.0 if low <= 0.0 <= high else None
    x = field("x", scale={"domain": [low, high], "nice": False}, axis=_axis(max(abs(low), abs(high)), "", "error"))
    y = field("rows", scale={"zero": True}, axis={**UNITS, "grid": True, "tickCount": 4})
    tips = [field(name, "nominal", title=title) for name, title in (("text", "error"), ("rows", "rows"))]
    bar = {"type": "rect", "color": DOT, "stroke": "var(--paper)", "strokeWidth": 1}
    bars = {"x": x, "x2": {"field": "x2"}, "y": y, "y2": {"datum": 0}, "tooltip": tips}
    layers: list[Spec] = [{"data": values(rows), "mark": bar, "encoding": bars}]
    marks = [(found.bias, ACCENT), *([] if zero is None else [(zero, INK)])]
    layers += [
        {"data": values([{"x": place}]), "mark": {"type": "rule", "color": colour}, "encoding": {"x": x}}
        for place, colour in marks
    ]
    return frame(layers, HEIGHT, top=12)


def predictions(found: Residuals) -> Spec:
    """Return predictions by their truth for some rows; on the diagonal they are right."""
    rows = [{"x": truth, "y": predicted} for truth, predicted in found.sample]
    low, high = _ends([number for row in rows for number in row.values()])
    scale = {"domain": [low, high], "nice": False}
    axis = _axis(max(abs(low), abs(high)), "")
    x, y = (
        field("x", scale=scale, axis={**axis, "title": "truth"}),
        field("y", scale=scale, axis={**axis, "grid": True}),
    )
    dot = {"type": "circle", "color": INK, "opacity": 0.45, "size": 16}
    diagonal = _line([{"x": low, "y": low}, {"x": high, "y": high}], x, y)
    return frame([diagonal, {"data": values(rows), "mark": dot, "encoding": {"x": x, "y": y}}], HEIGHT, top=12)


def _bin_row(found: Bin, factor: float) -> Spec:
    _, _, rows, predicted, observed = found
    told = {"predicted": f"{factor * predicted:.4g}", "observed": f"{factor * observed:.4g}", "count": mean_count(rows)}
    return {"x": factor * predicted, "y": factor * observed, "rows": rows, **told}


def _line(rows: list[Spec], x: Spec, y: Spec) -> Spec:
    return {
        "data": values(rows),
        "mark": {"type": "line", "color": LINE, "strokeWidth": 1.5},
        "encoding": {"x": x, "y": y},
    }


def _axis(largest: float, suffix: str, title: str | None = None) -> Spec:
    label = "format(datum.value, '~s')" if largest >= LONG_LABEL else "datum.label"
    return {**UNITS, "title": title, "labelExpr": f"{label}{suffix}", "labelFlush": True}


def _ends(numbers: Sequence[float]) -> tuple[float, float]:
    low, high = min(numbers), max(numbers)
    room = 0.04 * (high - low) or 0.05 * max(abs(high), 1e-9)
    return low - room, high + room


def mean_count(rows: float) -> str:
    """Return a mean count: whole, or with one digit."""
    return f"{rows:.0f}" if abs(rows - round(rows)) < 0.05 else f"{rows:.1f}"
