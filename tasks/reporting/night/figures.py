"""The figures of the report as Vega-Lite specifications: plain dictionaries, which Altair shows in a notebook, too.

Colours are the variables of the page's style sheet, so that one drawing serves light, dark and paper. Rows of trials
are one data set, "trials", which the page holds once. No text of a user is part of an expression.
"""

from typing import Any

from nightune.tasks.reporting.night.measure import Ends, Measure, Spec
from nightune.tasks.reporting.night.phrases import recipe, status_text
from nightune.tasks.reporting.night.record import Night
from nightune.tuning.search.domains import Cases, Choice, is_same
from nightune.tuning.trial import TrialResult

ACCENT, CHAMPION, INK, SOFT, DOT, LINE, GRID, BAND, PAPER = (
    f"var(--{name})" for name in ("accent", "champion", "ink", "soft", "dot", "line", "grid", "band", "paper")
)
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif"
CONFIG: Spec = {
    "font": FONT,
    "view": {"stroke": None},
    "axis": {
        "domain": False,
        "ticks": False,
        "gridColor": GRID,
        "labelColor": SOFT,
        "labelFontSize": 12,
        "labelPadding": 6,
        "titleColor": SOFT,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titlePadding": 8,
    },
    "axisX": {"grid": False, "domain": True, "domainColor": LINE, "ticks": True, "tickColor": LINE, "tickSize": 4},
    "title": {"color": SOFT, "fontSize": 11, "fontWeight": "normal", "anchor": "start", "offset": 3},
}
KINDS = {"winner": ACCENT, "finalist": INK, "other": DOT}
TOOLTIP_PARAMS = 8
GOLDEN = 0.618  # spreads numbers evenly over an interval


def trial_rows(night: Night, reach: Ends) -> list[Spec]:
    """Return a row for each ranked trial, in the order in which they ended; scores beyond the reach are drawn at it."""
    m, rows, compared = night.measure, [], {each.trial.number: each for each in night.compared}
    for order, result in enumerate((each.result for each in night.trials), start=1):
        if not result.is_ranked:
            continue
        shown = clipped(result.objective, reach)
        rows.append(
            {
                "trial": str(result.trial.number),
                "order": order,
                "drawn": m.drawn(shown),
                "beyond": shown != result.objective,
                "told": m.text(result.objective, 1),
                "kind": kind_of(night, result),
                "status": status_text(night, result.status),
                "recipe": recipe(night, result, TOOLTIP_PARAMS),
                **_compared(night, compared.get(result.trial.number)),
            }
        )
    return rows


def _compared(night: Night, result: TrialResult | None) -> Spec:
    """Return the score with which a trial is compared, and its places along the dimensions; empty if it is not."""
    if result is None:
        return {}
    m = night.measure
    drawn = m.drawn(clipped(result.objective, night.compared_reach))
    there = {"told_there": m.text(result.objective, 1)} if night.compared_epochs else {}
    return {"compared": drawn, **there, **_places(night, result)}


def dimension_field(night: Night, name: str) -> str:
    """Return the field of a trial's row that holds the place along a dimension: a name that is no user's text."""
    return f"d{[each.name for each in night.effects].index(name)}"


def _places(night: Night, result: TrialResult) -> Spec:
    """Return the value of each dimension with an effect; of options the number, spread by the number of the trial."""
    places: Spec = {}
    for number, effect in enumerate(night.effects):
        domain, value = effect.dimension.domain, result.trial.params.get(effect.name)
        if value is None:
            continue
        if isinstance(domain, Choice):
            spread = (result.trial.number * GOLDEN) % 1
            option = next((n for n, each in enumerate(domain.options) if is_same(each, value)), None)
            value = None if option is None else round(option + 0.7 * (spread - 0.5), 3)
        elif isinstance(domain, Cases):
            value = domain.under(result.trial.params).to_unit(value)
        places[f"d{number}"] = value
    return places


def clipped(score: float, reach: Ends) -> float:
    """Return a score, or the end of the reach that it is beyond."""
    return min(max(score, reach[0]), reach[1])


def kind_of(night: Night, result: TrialResult) -> str:
    """Return winner, finalist or other."""
    if night.winner is not None and result.run_id == night.winner.run_id:
        return "winner"
    finalists = night.confirmation.finalists if night.confirmation is not None else ()
    return "finalist" if any(each.finalist.trial == result.trial.number for each in finalists) else "other"


def frame(layers: list[Spec], height: int, top: int = 12) -> Spec:
    """Return a figure as wide as its place."""
    return {
        "background": "transparent",
        "config": CONFIG,
        "autosize": {"type": "fit", "contains": "padding"},
        "width": "container",
        "height": height,
        "padding": {"left": 0, "right": 14, "top": top, "bottom": 0},
        "layer": layers,
    }


def values(rows: list[Spec]) -> Spec:
    """Return rows as the data of a layer."""
    return {"values": rows}


def text_layer(rows: list[Spec], x: Spec, y: Spec, **mark: Any) -> Spec:
    """Return the rows' texts as a layer."""
    shape = {"type": "text", "fontSize": 12, "color": INK, "align": "left", "baseline": "middle", **mark}
    return {"data": values(rows), "mark": shape, "encoding": {"x": x, "y": y, "text": {"field": "text"}}}


def tooltips(m: Measure, after: str = "") -> list[Spec]:
    """Return what a dot of a trial tells; with ` after 3 epochs` its score there, too."""
    there = {"told_there": f"{m.name}{after}"} if after else {}
    titles = {"trial": "trial", **there, "told": m.name, "status": "status", "recipe": "tried"}
    return [{"field": name, "title": title, "type": "nominal"} for name, title in titles.items()]


def field(name: str, kind: str = "quantitative", **more: Any) -> Spec:
    """Return the encoding of a field."""
    return {"field": name, "type": kind, **more}
