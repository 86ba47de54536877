"""The learning curves of a trial as a column: objective, losses, and what drove the training, on one axis."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from nightune.tasks.reporting.night.figures import ACCENT, CONFIG, DOT, INK, PAPER, SOFT, field, text_layer, values
from nightune.tasks.reporting.night.measure import Ends, Measure, Spec
from nightune.tasks.reporting.night.record import Curves, Night
from nightune.tuning.trial import TrialResult

POINTS = 240  # of one curve; longer ones are thinned
WIDTH, AXIS_WIDTH = 120, 44  # pixels; the page's script widens the panels
DRIVERS = {
    "learning_rate": "learning rate",
    "batch_size": "batch size",
    "weight_decay": "weight decay",
    "penalty": "penalty strength",
}


@dataclass(frozen=True)
class CurveScales:
    """The scales that all columns share, so that they can be compared, and the curves of all columns."""

    measure: Measure
    metric: str
    epochs: int
    score: Ends
    loss: Ends | None  # None where no trial has a finite loss
    drivers: Mapping[str, Ends]  # of those that some column has
    ghosts: tuple[Spec, ...]


def curve_columns(night: Night) -> list[tuple[TrialResult, Spec]]:
    """Return a figure for each trial in `night.learners` that has curves."""
    held = {number: curves for number, curves in night.curves.items() if curves.get(night.sweep.metric)}
    if not held:
        return []
    scales = _scales(night, held)
    return [
        (result, _column(scales, held[result.trial.number], result, _colour(night, result)))
        for result in night.learners
        if result.trial.number in held
    ]


def _colour(night: Night, result: TrialResult) -> str:
    return ACCENT if night.winner is not None and result.run_id == night.winner.run_id else INK


def _scales(night: Night, held: Mapping[int, Curves]) -> CurveScales:
    m, metric = night.measure, night.sweep.metric
    reached = [score for curves in held.values() for score in curves[metric].values() if _is_drawn(m, score)]
    low, high = m.reach(reached)
    losses = [value for curves in held.values() for name in ("loss", "val_loss") for value in _positive(curves, name)]
    drivers = {}
    for name in DRIVERS:
        known = [value for curves in held.values() for value in _positive(curves, name)]
        if known:
            drivers[name] = _powers_of_two(known) if name == "batch_size" else _decades(known)
    ghosts = tuple(
        {"trial": number, **row} for number, curves in held.items() for row in _score_rows(m, curves[metric])
    )
    return CurveScales(
        measure=m,
        metric=metric,
        epochs=max(2, *(max(curves[metric]) for curves in held.values())),
        score=m.ends([low, high]),
        loss=(min(losses), max(losses)) if losses and max(losses) > min(losses) else None,
        drivers=drivers,
        ghosts=ghosts,
    )


def _positive(curves: Curves, name: str) -> list[float]:
    return [value for value in curves.get(name, {}).values() if value > 0]


def _decades(known: Iterable[float]) -> Ends:
    logarithms = [math.log10(value) for value in known]
    low, high = math.floor(min(logarithms) + 1e-9), math.ceil(max(logarithms) - 1e-9)
    return 10.0**low, 10.0 ** max(high, low + 1)


def _powers_of_two(known: Iterable[float]) -> Ends:
    sizes = list(known)
    return min(sizes), max(*sizes, 2 * min(sizes))


def _column(scales: CurveScales, curves: Curves, result: TrialResult, colour: str) -> Spec:
    panels = [_score_panel(scales, curves, result, colour)]
    if scales.loss is not None:
        panels.append(_loss_panel(scales, curves, colour))
    panels += [_driver_panel(scales, curves, name, colour) for name in scales.drivers]
    panels[-1] = _with_epochs(panels[-1], scales)
    return {
        "background": "transparent",
        "config": CONFIG,
        "padding": {"left": 0, "right": 6, "top": 2, "bottom": 2},
        "vconcat": panels,
        "spacing": 26,
        "bounds": "flush",
        "resolve": {"scale": {"x": "shared"}},
    }


def _score_panel(scales: CurveScales, curves: Curves, result: TrialResult, colour: str) -> Spec:
    m, rows = scales.measure, _score_rows(scales.measure, curves[scales.metric])
    y = field("score", scale=m.scale(scales.score), axis=_axis() | m.axis(scales.score, is_small=True))
    x = _epoch(scales)
    ghost = {"type": "line", "color": DOT, "strokeWidth": 0.7, "opacity": 0.55, "clip": True}
    dot = {"type": "point", "filled": True, "color": colour, "size": 60, "opacity": 1, "stroke": PAPER}
    best = [row for row in rows if row["epoch"] == result.best_epoch]
    layers: list[Spec] = [
        {
            "data": values(list(scales.ghosts)),
            "mark": ghost,
            "encoding": {"x": x, "y": y, "detail": {"field": "trial"}},
        },
        {"data": values(rows), "mark": _line(colour, 2.2), "encoding": {"x": x, "y": y}},
        {"data": values(best), "mark": {**dot, "strokeWidth": 1}, "encoding": {"x": x, "y": y}},
    ]
    return _panel(f"held-out {m.name}", layers, 104)


def _loss_panel(scales: CurveScales, curves: Curves, colour: str) -> Spec:
    low, high = scales.loss or (0.0, 1.0)
    scale = {"type": "log", "domain": [low, high], "nice": False, "clamp": True}
    axis = {**_axis(), "values": [low, high], "labelExpr": "format(datum.value, '.2~g')", "grid": True}
    y, x = field("loss", scale=scale, axis=axis), _epoch(scales)
    layers: list[Spec] = []
    for name, dash in (("loss", [1, 0]), ("val_loss", [3, 2])):
        rows = [{"epoch": epoch, "loss": value} for epoch, value in _thinned(curves.get(name, {})) if value > 0]
        mark = {**_line(colour, 1.6), "strokeDash": dash}
        layers.append({"data": values(rows), "mark": mark, "encoding": {"x": x, "y": y}})
    return _panel("loss: training, held-out dashed", layers, 56)


def _driver_panel(scales: CurveScales, curves: Curves, name: str, colour: str) -> Spec:
    ends, kind = scales.drivers[name], "~g" if name == "batch_size" else "~e"
    scale = {"type": "log", "domain": list(ends), "nice": False, "clamp": True}
    axis = {**_axis(), "values": list(ends), "labelExpr": f"format(datum.value, '{kind}')", "grid": True}
    y, x = field("value", scale=scale, axis=axis), _epoch(scales)
    rows = [{"epoch": epoch, "value": value} for epoch, value in _thinned(curves.get(name, {})) if value > 0]
    if not rows:
        nothing = [{"epoch": 1, "value": math.sqrt(ends[0] * ends[1]), "text": "none"}]
        return _panel(DRIVERS[name], [text_layer(nothing, x, y, color=SOFT, fontSize=11)], 34)
    mark = {**_line(colour, 1.8), "interpolate": "step-after"}
    return _panel(DRIVERS[name], [{"data": values(rows), "mark": mark, "encoding": {"x": x, "y": y}}], 34)


def _panel(title: str, layers: list[Spec], height: int) -> Spec:
    head = {"text": title, "frame": "group", "dx": -AXIS_WIDTH}
    return {"width": WIDTH, "height": height, "title": head, "layer": layers}


def _with_epochs(panel: Spec, scales: CurveScales) -> Spec:
    """Label the epochs of the last panel."""
    labels = {"labels": True, "ticks": True, "labelFontSize": 11, "labelFlush": True, "title": "epoch"}
    axis = {**_epoch(scales)["axis"], **labels, "titleFontSize": 11, "titlePadding": 2, "labelPadding": 3}
    x = {**_epoch(scales), "axis": axis}
    layers = [{**layer, "encoding": {**layer["encoding"], "x": x}} for layer in panel["layer"]]
    return {**panel, "layer": layers}


def _epoch(scales: CurveScales) -> Spec:
    step = max(1, math.ceil(scales.epochs / 4))
    ticks = sorted({1, *range(step, scales.epochs + 1, step), scales.epochs})
    if len(ticks) > 2 and ticks[-1] - ticks[-2] < step / 2:
        del ticks[-2]
    axis = {"title": None, "labels": False, "ticks": False, "values": ticks, "format": "d"}
    return field("epoch", scale={"domain": [1, scales.epochs], "nice": False}, axis=axis)


def _axis() -> Spec:
    size = {"minExtent": AXIS_WIDTH, "maxExtent": AXIS_WIDTH}
    return {**size, "title": None, "tickCount": 3, "labelFontSize": 11, "labelPadding": 4}


def _line(colour: str, width: float) -> Spec:
    return {"type": "line", "color": colour, "strokeWidth": width, "clip": True}


def _score_rows(measure: Measure, curve: Mapping[int, float]) -> list[Spec]:
    points = _thinned(curve)
    return [{"epoch": epoch, "score": measure.drawn(score)} for epoch, score in points if _is_drawn(measure, score)]


def _is_drawn(measure: Measure, score: float) -> bool:
    return score > 0 or measure.kind != "log"


def _thinned(curve: Mapping[int, float]) -> list[tuple[int, float]]:
    """Return the epochs and values of a curve, evenly thinned, with its last epoch."""
    points = list(curve.items())
    stride = max(1, math.ceil(len(points) / POINTS))
    kept = points[::stride]
    return kept if not points or kept[-1] == points[-1] else [*kept, points[-1]]
