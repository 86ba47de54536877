"""The figure of the finalists: search score, fresh seeds, mean and interval of each."""

import math

from nightune.tasks.reporting.night.figures import ACCENT, INK, SOFT, field, frame, text_layer, values
from nightune.tasks.reporting.night.measure import SPACE, Spec
from nightune.tasks.reporting.night.record import Night


def finalists(night: Night) -> Spec:
    """Return a row for each finalist with finite scores; the first one's marks are labelled."""
    m, rows, seeds = night.measure, *_rows(night)
    axis = {"title": None, "labelExpr": f"datum.label + '{SPACE}%'" if m.is_share else "datum.label", "tickCount": 6}
    more = {"grid": True, "domain": False, "ticks": False}
    x = field("mean", scale={"nice": True, "zero": False}, axis={**axis, **more})
    order = [row["name"] for row in rows]
    y = field("name", "nominal", sort=order, axis={"title": None, "labelColor": INK, "labelFontSize": 13})
    colour = {"condition": {"test": "datum.is_winner", "value": ACCENT}, "value": INK}
    bar = {"type": "rule", "strokeWidth": 5, "opacity": 0.25}
    ring = {"type": "point", "size": 190, "strokeWidth": 1.6, "fill": "transparent", "opacity": 1}
    marks: list[tuple[list[Spec], Spec, Spec]] = [
        (rows, bar, {"x": {**x, "field": "low"}, "x2": {"field": "high"}}),
        (seeds, {"type": "tick", "height": 15, "thickness": 1.5, "opacity": 0.85}, {"x": x}),
        (rows, ring, {"x": {**x, "field": "search"}}),
        (rows, {"type": "circle", "size": 90, "opacity": 1}, {"x": x}),
    ]
    layers = [
        {"data": values(data), "mark": mark, "encoding": {**place, "y": y, "color": colour}}
        for data, mark, place in marks
    ]
    return frame([*layers, *_labels(rows, seeds, x, y)], 40 * len(order) + 30)


def _rows(night: Night) -> tuple[list[Spec], list[Spec]]:
    """Return a row for each finalist, and one for each of its seeds, in percent where the objective is a share."""
    held, factor = night.confirmation, 100.0 if night.measure.is_share else 1.0
    rows: list[Spec] = []
    seeds: list[Spec] = []
    for each in held.finalists if held is not None else ():
        finalist, has_interval = each.finalist, math.isfinite(each.low)
        if not finalist.is_sound or held is None:
            continue
        low, high = (each.low, each.high) if has_interval else (finalist.mean, finalist.mean)
        if night.measure.is_share:
            low, high = max(low, 0.0), min(high, 1.0)
        numbers = {"search": finalist.search_score, "mean": finalist.mean, "low": low, "high": high}
        who = {"name": f"trial {finalist.trial}", "is_winner": held.is_winner(each)}
        rows.append(who | {name: factor * value for name, value in numbers.items()})
        seeds += [who | {"mean": factor * score} for score in finalist.scores]
    return rows, seeds


def _labels(rows: list[Spec], seeds: list[Spec], x: Spec, y: Spec) -> list[Spec]:
    """Name the marks of the first finalist, each on its outer side."""
    first, is_right = rows[0], rows[0]["search"] > rows[0]["mean"]
    fresh = sum(seed["name"] == first["name"] for seed in seeds)
    texts = [("search", "in the search, one seed", is_right), ("mean", f"mean of {fresh} fresh seeds", not is_right)]
    return [
        text_layer(
            [{"name": first["name"], "mean": first[key], "text": text}],
            x,
            y,
            color=SOFT,
            dy=-17,
            align="left" if is_at_right else "right",
        )
        for key, text, is_at_right in texts
    ]
