"""The figure of the history: the objective by trial, the best so far, and the band of seed noise."""

import math

from nightune.tasks.reporting.night.figures import (
    BAND,
    CHAMPION,
    INK,
    KINDS,
    PAPER,
    clipped,
    field,
    frame,
    text_layer,
    tooltips,
    values,
)
from nightune.tasks.reporting.night.headings import best_so_far
from nightune.tasks.reporting.night.measure import Ends, Measure, Spec, duration
from nightune.tasks.reporting.night.record import Night

LABELS = 6  # of the axis


def history(night: Night, reach: Ends) -> Spec:
    """Return the objective by trial in the order in which they ended, the best so far, and the band of seed noise."""
    m, ends, total = night.measure, night.measure.ends(reach, 0.08), len(night.trials)
    x = field("order", scale={"domain": [0, total + 1], "nice": False}, axis=_time_axis(night))
    y = field("drawn", scale=m.scale(ends), axis=m.axis(ends))
    best = [(order, score) for order, score in enumerate(best_so_far(night), start=1) if score is not None]
    rows = [{"order": order, "drawn": m.drawn(clipped(score, reach))} for order, score in best]
    layers: list[Spec] = []
    if math.isfinite(night.seed_band):
        worse = -night.seed_band if m.is_maximized else night.seed_band
        reached = [{**row, "low": m.drawn(score + worse)} for row, (_, score) in zip(rows, best, strict=True)]
        area = {"type": "area", "interpolate": "step-after", "color": BAND, "clip": True}
        layers.append(
            {"data": values(reached), "mark": area, "encoding": {"x": x, "y": y, "y2": {"field": "low"}}},
        )
    champion = night.champion.score if night.champion is not None else None
    if champion is not None:
        rule = {"type": "rule", "color": CHAMPION, "strokeDash": [5, 4], "strokeWidth": 1.5}
        layers.append({"data": values([{"drawn": m.drawn(champion)}]), "mark": rule, "encoding": {"y": y}})
    line = {"type": "line", "interpolate": "step-after", "color": INK, "strokeWidth": 2}
    layers += [{"data": values(rows), "mark": line, "encoding": {"x": x, "y": y}}, _dots(m, x, y)]
    return frame([*layers, *_labels(night, best[-1][1], x, y)], 330)


def _labels(night: Night, best: float, x: Spec, y: Spec) -> list[Spec]:
    m, end, side = night.measure, len(night.trials) + 1, 1 if night.measure.is_maximized else -1
    champion = night.champion.score if night.champion is not None else None
    side = -side if champion is not None and night.improvement(champion, best) > 0 else side  # the better one above
    texts = [(best, f"best so far {m.text(best)}", -13 * side, INK)]
    if champion is not None:
        texts.append((champion, f"champion before, {m.text(champion)}", 12 * side, CHAMPION))
    return [
        text_layer(
            [{"order": end, "drawn": m.drawn(score), "text": text}],
            x,
            y,
            align="right",
            dx=-2,
            dy=dy,
            fontWeight=600,
            color=colour,
        )
        for score, text, dy, colour in texts
    ]


def _dots(m: Measure, x: Spec, y: Spec) -> Spec:
    far = "triangle-down" if m.is_maximized else "triangle-up"
    return {
        "data": {"name": "trials"},
        "mark": {"type": "point", "filled": True, "opacity": 1, "stroke": PAPER, "strokeWidth": 0.8},
        "encoding": {
            "x": x,
            "y": y,
            "color": {
                "field": "kind",
                "type": "nominal",
                "scale": {"domain": list(KINDS), "range": list(KINDS.values())},
                "legend": None,
            },
            "size": {
                "condition": [
                    {"test": "datum.kind == 'winner'", "value": 120},
                    {"test": "datum.kind == 'finalist'", "value": 52},
                ],
                "value": 34,
            },
            "shape": {"condition": {"test": "datum.beyond", "value": far}, "value": "circle"},
            "tooltip": tooltips(m),
        },
    }


def _time_axis(night: Night) -> Spec:
    """Return an axis of trials that also tells when they ended."""
    total = len(night.trials)
    stride = max(1, math.ceil(total / LABELS))
    stride = stride if stride < 4 else 5 * math.ceil(stride / 5)
    places = list(range(stride, total + 1, stride))
    since = {place: duration(max(night.trials[place - 1].ended - night.origin.started, 0.0)) for place in places}
    labels = " : ".join(f"datum.value == {place} ? ['{place}', '{time}']" for place, time in since.items())
    return {
        "title": "trials ended, and time since the sweep began",
        "values": places,
        "labelExpr": f"{labels} : ''" if labels else "''",
    }
