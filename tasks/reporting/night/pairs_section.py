"""How dimensions work together: pairs that interact, with the scores along one of them for values of the other."""

from functools import partial
from typing import Any

import numpy as np

from nightune.tasks.reporting.night.effects_figures import HEIGHT, range_axis, range_scale, value_at
from nightune.tasks.reporting.night.figures import DOT, INK, SOFT, field, frame, text_layer, values
from nightune.tasks.reporting.night.headings import SHORT
from nightune.tasks.reporting.night.measure import SPACE, Spec
from nightune.tasks.reporting.night.record import EFFECTS_SEED, Night
from nightune.tuning.analysis.interactions import PLACES, Examined, Interaction, interactions
from nightune.tuning.analysis.value_text import value_text
from nightune.tuning.search.domains import Choice, Range
from nightune.tuning.search.search_space import Dimension
from nightune.vocabulary import counted

MOST_PAIRS = 3
MOST_LINES = 5
STYLES = ((INK, 2.2, [1, 0]), (SOFT, 1.8, [6, 3]), (DOT, 1.8, [1, 0]), (INK, 1.4, [2, 2]), (SOFT, 1.2, [1, 0]))
NAMES_OF_THIRDS = ("low", "middle", "high")
THREE = 3


def examined_pairs(night: Night) -> Examined:
    """Return the pairs that interact on the drawn scale; none where the sweep does not record its space."""
    if night.space is None or not night.compared:
        return Examined((), 0)
    score = partial(night.measure.straight, reach=night.compared_reach)
    shares = {each.name: each.share for each in night.effects}
    return interactions(night.space, night.compared, score, shares, EFFECTS_SEED)


def pairs_heading(night: Night, examined: Examined) -> str:
    """Return the pair that interacts most, or that none does."""
    if not examined.found:
        return f"No pair of dimensions interacts by more than chance{night.after_epochs}"
    first = examined.found[0]
    return f"The best {first.first.name}{night.after_epochs} depends on {first.second.name}"


def pairs_note(examined: Examined) -> str:
    """Return how many pairs were examined, and which others were found."""
    more = [f"{each.first.name} with {each.second.name}" for each in examined.found[MOST_PAIRS:]]
    verb = "was" if examined.pairs == 1 else "were"
    said = f"{counted(examined.pairs, 'pair')} of the dimensions that matter most {verb}"
    others = f"; also found: {', '.join(more)}" if more else ""
    return f"{said} examined{others}."


def pair_rows(night: Night, examined: Examined) -> list[dict[str, str]]:
    """Return the names and the notes of the pairs that are drawn."""
    return [
        {"id": f"pair-{number}", "name": f"{each.first.name} by {each.second.name}", "note": _note(night, each)}
        for number, each in enumerate(examined.found[:MOST_PAIRS])
    ]


def pair_specs(night: Night, examined: Examined) -> dict[str, Spec]:
    """Return the figures of the pairs by their places on the page."""
    return {f"pair-{number}": _figure(night, each) for number, each in enumerate(examined.found[:MOST_PAIRS])}


def _note(night: Night, found: Interaction) -> str:
    best = [
        f"{_level(found, place)}: {_where(found.first, int(_best(night, found.curves[1, place])))}"
        for place in range(min(len(found.levels), MOST_LINES))
    ]
    chance = "below 0.01" if found.chance < 0.01 else f"{found.chance:.2f}"
    share = (
        f"{100 * found.share:.0f}{SPACE}% of the differences between {counted(found.trials, 'trial')}, chance {chance}"
    )
    return f"Best {found.first.name} where {found.second.name} is {'; '.join(best)}. {share}."


def _best(night: Night, curve: Any) -> Any:
    return np.argmax(curve if night.measure.grows else -curve)


def _where(dimension: Dimension, place: int) -> str:
    domain, unit = dimension.domain, float(PLACES[place])
    if isinstance(domain, Choice):
        return value_text(domain.from_unit(unit), SHORT)
    return f"about {value_text(domain.from_unit(unit), SHORT)}" if isinstance(domain, Range) else f"at {unit:.0%}"


def _level(found: Interaction, place: int) -> str:
    domain = found.second.domain
    if isinstance(domain, Choice | Range):
        return value_text(domain.from_unit(found.levels[place]), SHORT)
    return NAMES_OF_THIRDS[place]


def _figure(night: Night, found: Interaction) -> Spec:
    """Return a line for each value of the second dimension, named where it runs, in its band if it is the first."""
    m, domain = night.measure, found.first.domain
    lines = min(len(found.levels), MOST_LINES)
    scores = [m.score(float(number)) for number in found.curves[1, :lines].reshape(-1)]
    y_ends = m.ends(scores, 0.12)
    y = field("middle", scale=m.scale(y_ends), axis=m.axis(y_ends, is_small=True))
    places = [value_at(domain, float(unit)) if isinstance(domain, Range) else float(unit) for unit in PLACES]
    x = field("x", scale=_scale(found.first), axis=_axis(found.first))
    layers: list[Spec] = []
    for place in range(lines):
        rows = [
            {
                "x": at,
                **{name: m.bent(float(found.curves[n, place, i])) for n, name in enumerate(("low", "middle", "high"))},
            }
            for i, at in enumerate(places)
        ]
        colour, width, dash = STYLES[place]
        band = {"type": "area", "color": colour, "opacity": 0.1, "clip": True}
        line = {"type": "line", "color": colour, "strokeWidth": width, "strokeDash": dash, "clip": True}
        around = {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}}
        named = rows[min(len(rows) - 1, round((place + 0.5) / lines * len(rows)))]
        layers += [
            {"data": values(rows), "mark": band, "encoding": around},
            {"data": values(rows), "mark": line, "encoding": {"x": x, "y": y}},
            text_layer([{**named, "text": _level(found, place)}], x, y, dy=-9, align="center", fontSize=11, color=INK),
        ]
    return frame(layers, HEIGHT + 40, top=8)


def _scale(dimension: Dimension) -> Spec:
    if isinstance(dimension.domain, Range):
        return range_scale(dimension.domain)
    return {"domain": [0, 1], "nice": False}


def _axis(dimension: Dimension) -> Spec:
    domain = dimension.domain
    if isinstance(domain, Range):
        return {**range_axis(domain), "title": dimension.name}
    if isinstance(domain, Choice):
        options = ", ".join(value_text(option, SHORT) for option in domain.options)
        return {"title": f"{dimension.name}: {options}", "labels": False, "ticks": False}
    return {"title": f"{dimension.name}, from its low to its high end", "labels": False, "ticks": False}
