"""The part of the report on several objectives: the front of trials that no other one beats in all of them."""

import math
from typing import Any

from nightune.tasks.reporting.night.figures import ACCENT, DOT, INK, field, frame, values
from nightune.tasks.reporting.night.measure import SPACE, Measure, Spec, head_of, measure_of
from nightune.tasks.reporting.night.phrases import recipe
from nightune.tasks.reporting.night.record import Night
from nightune.tuning.analysis.front import NOT_COMPUTED, front, hypervolume
from nightune.tuning.trial import TrialResult
from nightune.vocabulary import counted

MOST_ROWS = 30
RECIPE = 5  # params of a row
COSTS = {"size_mb": "size of the weights in MB", "latency_ms": "latency in ms", "parameters": "number of parameters"}


def front_part(night: Night) -> dict[str, Any] | None:
    """Return what the template draws; None with one objective, or where no trial has all of them."""
    held = night.front
    if not held:
        return None
    measures = _measures(night)
    covered = hypervolume(night.results, night.sweep.direction, night.sweep.further)
    share = NOT_COMPUTED if covered is None else f"which covers {100 * covered:.1f}{SPACE}% of the range"
    said = f"{counted(len(held), 'trial')} of {len(night.results)} on the front"
    return {
        "heading": f"{said}, {share}",
        "first": night.measure.full_name,
        "has_volumes": bool(night.volumes),
        "names": [night.measure.full_name, *(_name(*each) for each in measures.items())],
        "figures": [f"front-{number}" for number in range(len(measures))],
        "alt": [f"Trials by {night.measure.name} and {_name(*each)}, the front a line." for each in measures.items()],
        "rows": [_row(night, measures, each) for each in held[:MOST_ROWS]],
        "left": max(0, len(held) - MOST_ROWS),
    }


def front_specs(night: Night) -> dict[str, Spec]:
    """Return a figure for each further objective against the first, and the volume after each trial."""
    if not night.front:
        return {}
    measures = _measures(night)
    drawn = {
        f"front-{number}": _figure(night, name, measure) for number, (name, measure) in enumerate(measures.items())
    }
    return {**drawn, "volume": _progress(night)} if night.volumes else drawn


def _measures(night: Night) -> dict[str, Measure]:
    """Return the measures of the further objectives by name."""
    found = {}
    for name, direction in night.sweep.further:
        scores = [each.further[name] for each in _measured(night, name)]
        known = night.known_metric(name)
        found[name] = measure_of(known, direction, scores, None, night.has_scaled_target, head_of(name, known))
    return found


def _measured(night: Night, name: str) -> list[TrialResult]:
    """Return the trials with a finite value of a further objective."""
    return [each for each in night.ranked if math.isfinite(each.further.get(name, math.nan))]


def _name(name: str, measure: Measure) -> str:
    return COSTS.get(name, measure.full_name)


def _row(night: Night, measures: dict[str, Measure], result: TrialResult) -> dict[str, Any]:
    further = [measure.text(result.further[name], 1) for name, measure in measures.items()]
    return {
        "trial": result.trial.number,
        "link": night.link(result.run_id),
        "is_winner": night.winner is not None and result.run_id == night.winner.run_id,
        "cells": [night.measure.text(result.objective, 1), *further],
        "recipe": recipe(night, result, RECIPE),
    }


def _figure(night: Night, name: str, measure: Measure) -> Spec:
    """Return all trials by a further objective and the first, the front in a line."""
    m, shown = night.measure, _measured(night, name)
    reach = m.reach([each.objective for each in shown])
    x, y = _axes(night, name, measure, reach)
    rows = [_dot(night, name, measure, each, reach) for each in shown]
    pair = front(shown, night.sweep.direction, [each for each in night.sweep.further if each[0] == name])
    line = [{"first": m.drawn(each.objective), "other": measure.drawn(each.further[name])} for each in pair]
    titles = {"trial": "trial", "told": "objectives", "recipe": "tried"}
    dots = {
        "x": x,
        "y": y,
        "color": {"condition": {"test": "datum.kind == 'front'", "value": ACCENT}, "value": DOT},
        "tooltip": [field(each, "nominal", title=title) for each, title in titles.items()],
    }
    # Between two trials of the front the further objective has to be as good as that of the next better one.
    kind = "step-before" if measure.grows else "step-after"
    step = {"type": "line", "interpolate": kind, "color": INK, "strokeWidth": 1.5}
    mark = {"type": "point", "filled": True, "opacity": 1, "size": 45}
    return frame(
        [
            {"data": values(line), "mark": step, "encoding": {"x": x, "y": y}},
            {"data": values(rows), "mark": mark, "encoding": dots},
        ],
        330,
    )


def _axes(night: Night, name: str, measure: Measure, reach: tuple[float, float]) -> tuple[Spec, Spec]:
    """Return the axis of the further objective, and that of the first one, whose scores are drawn within `reach`."""
    m, across = night.measure, [each.further[name] for each in _measured(night, name)]
    ends, other_ends = m.ends(reach, 0.08), measure.ends(across, 0.08)
    other = {**measure.axis(other_ends), "title": _name(name, measure)}
    first = {**m.axis(ends), "title": m.full_name}
    return field("other", scale=measure.scale(other_ends), axis=other), field("first", scale=m.scale(ends), axis=first)


def _dot(night: Night, name: str, measure: Measure, result: TrialResult, reach: tuple[float, float]) -> Spec:
    """Return the place of a trial and its words; scores outside `reach` stand at its ends."""
    m, other = night.measure, result.further[name]
    on_front = {each.trial.number for each in night.front}
    return {
        "trial": str(result.trial.number),
        "first": m.drawn(min(max(result.objective, reach[0]), reach[1])),
        "other": measure.drawn(other),
        "told": f"{m.text(result.objective, 1)}, {measure.text(other, 1)}",
        "recipe": recipe(night, result, RECIPE),
        "kind": "front" if result.trial.number in on_front else "other",
    }


def _progress(night: Night) -> Spec:
    rows = [{"order": order, "share": 100 * share} for order, share in enumerate(night.volumes, start=1)]
    x = field("order", scale={"domain": [0, len(rows) + 1], "nice": False}, axis={"title": "trials ended"})
    y = field("share", scale={"zero": True}, axis={"title": None, "labelExpr": f"datum.label + '{SPACE}%'"})
    line = {"type": "line", "interpolate": "step-after", "color": INK, "strokeWidth": 2}
    return frame([{"data": values(rows), "mark": line, "encoding": {"x": x, "y": y}}], 200)
