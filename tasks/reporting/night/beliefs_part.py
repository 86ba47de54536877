"""The part of the report on the search itself: how trials were proposed, and what a model expected of them."""

from typing import Any

from nightune.tasks.reporting.night.figures import (
    ACCENT,
    DOT,
    INK,
    LINE,
    clipped,
    field,
    frame,
    values,
)
from nightune.tasks.reporting.night.measure import Spec
from nightune.tasks.reporting.night.record import Night
from nightune.tuning.analysis.beliefs import belief_lines, epochs_text, why_proposed
from nightune.tuning.analysis.leaderboard import best
from nightune.tuning.analysis.lineage import continuation_lines, schedule_line
from nightune.tuning.trial import TrialResult
from nightune.vocabulary import after_epochs, counted


def beliefs_part(night: Night) -> dict[str, Any] | None:
    """Return what the template draws; None where all trials were proposed in one way, and none by a model."""
    ways = _ways(night)
    if night.beliefs is None and len(ways) < 2:
        return None
    m, winner = night.measure, night.winner
    said = "" if winner is None else why_proposed(winner, m.text, m.points)
    return {
        "kicker": "What the population found" if _members(night) else "What the search believes",
        "heading": _heading(night, ways),
        "winner": f"Trial {winner.trial.number} leads: {said}." if winner is not None and said else "",
        "lines": _population_lines(night) if night.beliefs is None else belief_lines(night.beliefs, m.text, m.points),
        "ways": [_row(night, name, results) for name, results in ways.items()],
        "has_figure": bool(_compared(night)),
        "after": "" if night.beliefs is None or not night.beliefs.epochs else f"after {epochs_text(night.beliefs)}",
    }


def _members(night: Night) -> list[TrialResult]:
    """Return the trials that continue others, as the new members of a population do."""
    return [each for each in night.results if each.trial.parent is not None]


def _population_lines(night: Night) -> list[str]:
    """Say what the leading trial's values were, and which members continued which; nothing without a population."""
    winner = night.winner
    schedule = "" if winner is None else schedule_line(winner.trial.number, winner.trial.params, winner.epochs)
    return [*([schedule] if schedule else []), *continuation_lines(_members(night), night.measure.text)]


def beliefs_specs(night: Night) -> dict[str, Spec]:
    """Return the figure of what was expected and what was reached; none without a model."""
    rows = _compared(night)
    if not rows:
        return {}
    m = night.measure
    scores = [row[name] for row in rows for name in ("low", "high", "reached")]
    ends = m.ends(scores, 0.05)
    drawn = [{**row, **{name: m.drawn(row[name]) for name in ("expected", "low", "high", "reached")}} for row in rows]
    x = field("expected", scale=m.scale(ends), axis={**m.axis(ends), "title": f"expected {m.name}"})
    y = field("reached", scale=m.scale(ends), axis={**m.axis(ends), "title": "reached"})
    line = [{"expected": end, "reached": end} for end in ends]
    tips = [field("trial", "nominal", title="trial"), field("told", "nominal", title="expected, reached")]
    colour = {"condition": {"test": "datum.leads", "value": ACCENT}, "value": DOT}
    dot: Spec = {"x": x, "y": y, "color": colour, "tooltip": tips}
    epochs = sorted({row["epochs"] for row in rows}, key=int)
    if len(epochs) > 1:
        legend = {"title": "after epochs", "orient": "top-left", "symbolStrokeWidth": 0, "symbolFillColor": DOT}
        dot |= {"shape": field("epochs", "nominal", sort=epochs, legend=legend)}
    reach = {"x": {**x, "field": "low"}, "x2": {"field": "high"}, "y": y}
    layers: list[Spec] = [
        {"data": values(line), "mark": {"type": "line", "color": LINE}, "encoding": {"x": x, "y": y}},
        {"data": values(drawn), "mark": {"type": "rule", "color": INK, "opacity": 0.25}, "encoding": reach},
        {
            "data": values(drawn),
            "mark": {"type": "point", "filled": True, "opacity": 1, "size": 40},
            "encoding": dot,
        },
    ]
    return {"beliefs": frame(layers, 330)}


def _compared(night: Night) -> list[Spec]:
    """Return a row for each trial with an expectation and a score, as scores; what lies far out is drawn at the end."""
    if night.beliefs is None or not night.ranked:
        return []
    m, leader = night.measure, None if night.winner is None else night.winner.trial.number
    reach = m.reach([each.objective for each in night.ranked])
    rows: list[Spec] = []
    for each in night.beliefs.compared:
        if each.reached is None:
            continue
        held, reached = each.expected, each.reached
        places = {"expected": held.value, "low": held.value - held.deviation, "high": held.value + held.deviation}
        told = f"{m.text(held.value)} ± {m.points(held.deviation)}, {m.text(reached)}{after_epochs(held.epochs)}"
        drawn = {name: clipped(value, reach) for name, value in {**places, "reached": reached}.items()}
        named = {"trial": str(each.trial), "epochs": str(held.epochs), "told": told}
        rows.append({**named, "leads": each.trial == leader, **drawn})
    return rows


def _ways(night: Night) -> dict[str, list[TrialResult]]:
    """Return the results by what proposed them, in the order of trials; those of earlier versions are left out."""
    ways: dict[str, list[TrialResult]] = {}
    for result in sorted(night.results, key=lambda each: each.trial.number):
        if result.trial.proposed_by:
            ways.setdefault(result.trial.proposed_by, []).append(result)
    return ways


def _row(night: Night, name: str, results: list[TrialResult]) -> dict[str, Any]:
    first = best(results, night.sweep.direction)
    return {
        "name": name,
        "trials": len(results),
        "best": "none" if first is None else night.measure.text(first.objective, 1),
        "trial": None if first is None else first.trial.number,
        "link": "" if first is None else night.link(first.run_id),
    }


def _heading(night: Night, ways: dict[str, list[TrialResult]]) -> str:
    held = night.beliefs
    if held is not None and held.compared:
        checked = "" if held.is_whole else " that could be checked"
        said = f"{held.within(1)} of {counted(len(held.compared), 'prediction')}{checked}"
        return f"{said} came true within one standard deviation"
    if members := _members(night):
        return f"{counted(len(members), 'trial')} continued better ones with other values"
    return f"Trials were proposed in {counted(len(ways), 'way')}"
