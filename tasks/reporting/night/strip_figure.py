"""The figure of the answer: all trials on one axis, with the champion and the confirmed winner beneath."""

import math

from nightune.tasks.reporting.night.figures import (
    ACCENT,
    CHAMPION,
    DOT,
    INK,
    SOFT,
    field,
    frame,
    text_layer,
    tooltips,
    values,
)
from nightune.tasks.reporting.night.measure import Ends, Measure, Spec
from nightune.tasks.reporting.night.record import Night


def strip(night: Night, reach: Ends) -> Spec:
    """Return all trials on one axis; beneath them the champion and the confirmed winner with their intervals."""
    m, lanes = night.measure, _lanes(night)
    scores = [*reach, *(score for lane in lanes for score in (lane["low"], lane["high"]))]
    ends = m.ends(scores, 0.03)
    x = field("score", scale=m.scale(ends), axis=m.axis(ends, grid=True, domain=False, ticks=False))
    order = ["trials", *(lane["lane"] for lane in lanes)]
    y = field("lane", "nominal", sort=order, scale={"domain": order}, axis=None)
    is_left = m.is_maximized  # names stand at the worse end, far from the winner
    names = [{"lane": lane, "score": ends[0], "text": text} for lane, text in _lane_names(night, lanes)]
    middle = [{"lane": "trials", "score": m.drawn(night.median), "text": f"median {m.text(night.median)}"}]
    layers = [
        _ticks(m, x, y),
        {
            "data": values(middle),
            "mark": {"type": "tick", "thickness": 2, "height": 22, "color": INK},
            "encoding": {"x": x, "y": y},
        },
        text_layer(middle, x, y, dy=-18, align="center"),
        text_layer(names, x, y, dy=-18, color=SOFT, align="left" if is_left else "right"),
        *(_intervals(m, lanes, x, y) if lanes else []),
    ]
    return frame(layers, 44 * len(order) + 22)


def _ticks(m: Measure, x: Spec, y: Spec) -> Spec:
    return {
        "data": {"name": "trials"},
        "transform": [{"calculate": "'trials'", "as": "lane"}, {"calculate": "datum.drawn", "as": "score"}],
        "mark": {"type": "tick", "thickness": 1.5, "height": 14},
        "encoding": {
            "x": x,
            "y": y,
            "color": {"condition": {"test": "datum.kind == 'winner'", "value": ACCENT}, "value": DOT},
            "opacity": {"condition": {"test": "datum.beyond", "value": 0.25}, "value": 0.8},
            "tooltip": tooltips(m),
        },
    }


def _intervals(m: Measure, lanes: list[Spec], x: Spec, y: Spec) -> list[Spec]:
    rows = [{**lane, **{key: m.drawn(lane[key]) for key in ("score", "low", "high")}} for lane in lanes]
    colour = {"condition": {"test": "datum.lane == 'winner'", "value": ACCENT}, "value": CHAMPION}
    rule, circle = {"type": "rule", "strokeWidth": 5, "opacity": 0.35}, {"type": "circle", "size": 120, "opacity": 1}
    words = {"type": "text", "fontSize": 13, "fontWeight": 600, "dy": -16}
    low = {"x": {**x, "field": "low"}, "x2": {"field": "high"}}
    parts = [(rule, low), (circle, {"x": x}), (words, {"x": x, "text": {"field": "text"}})]
    return [
        {"data": values(rows), "mark": mark, "encoding": {**place, "y": y, "color": colour}} for mark, place in parts
    ]


def _lanes(night: Night) -> list[Spec]:
    lanes, champion, confirmed = [], night.champion, night.confirmed
    if champion is not None and champion.score is not None:
        lanes.append(_lane("champion", champion.score, champion.low, champion.high, night.measure))
    if confirmed is not None:
        lanes.append(_lane("winner", confirmed.finalist.mean, confirmed.low, confirmed.high, night.measure))
    return lanes


def _lane(name: str, score: float, low: float, high: float, measure: Measure) -> Spec:
    known = math.isfinite(low) and math.isfinite(high)
    low, high = (low, high) if known else (score, score)
    return {"lane": name, "score": score, "low": low, "high": high, "text": measure.text(score)}


def _lane_names(night: Night, lanes: list[Spec]) -> list[tuple[str, str]]:
    found = [("trials", "all trials, one seed")]
    for lane in lanes:
        if lane["lane"] == "champion" and night.champion is not None:
            found.append(("champion", f"champion, version {night.champion.version}"))
        elif night.confirmed is not None:
            finalist = night.confirmed.finalist
            found.append(("winner", f"trial {finalist.trial}, {len(finalist.scores)} fresh seeds"))
    return found
