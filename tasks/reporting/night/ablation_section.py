"""What the winner owes to each of its settings: the path from the study's default, or the champion, to the winner."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from nightune.models.recipe.params import KEYS
from nightune.tasks.reporting.night.figures import ACCENT, CHAMPION, DOT, INK, SOFT, field, frame, text_layer, values
from nightune.tasks.reporting.night.headings import SHORT
from nightune.tasks.reporting.night.measure import SPACE, Spec
from nightune.tasks.reporting.night.record import EFFECTS_SEED, Night
from nightune.tuning.analysis.ablation import (
    AblationPath,
    AblationStep,
    Expected,
    ablation_path,
    default_point,
    holds,
)
from nightune.tuning.analysis.changes import Change
from nightune.tuning.analysis.value_text import value_text
from nightune.tuning.search.domains import is_same
from nightune.tuning.trial import Params, TrialResult, Value
from nightune.vocabulary import counted

ROW = 38  # pixels of a step with its name
SHOWN_CHANGES = 3  # of a step, in its name
FROM_DEFAULT, FROM_CHAMPION = "ablation-default", "ablation-champion"  # the paths by their start


@dataclass(frozen=True, slots=True)
class Ablation:
    """A path to the winner and the name of its start: the study's default, or the champion's configuration."""

    id: str
    start: str
    path: AblationPath


def ablations(night: Night) -> list[Ablation]:
    """Return the path from the default, and that from the champion if its configuration is one of the space."""
    if night.space is None or night.winner is None or not holds(night.space, night.winner.trial.params):
        return []
    starts: list[tuple[str, str, Params]] = [
        (FROM_DEFAULT, "the study's default", default_point(night.space, _default))
    ]
    if night.champion_params and holds(night.space, night.champion_params):
        starts.append((FROM_CHAMPION, "the champion", night.champion_params))
    found = []
    for place, said, params in starts:
        score, ends = partial(night.measure.straight, reach=night.compared_reach), (params, night.winner.trial.params)
        path = ablation_path(night.space, night.compared, score, ends, night.measure.grows, EFFECTS_SEED)
        if path is not None:
            found.append(Ablation(place, said, path))
    return found


def _default(name: str, params: Params) -> Value:
    value: Any = KEYS[name].default_for(params) if name in KEYS else None
    return value  # type: ignore[no-any-return]


def ablation_specs(night: Night, found: list[Ablation]) -> dict[str, Spec]:
    """Return the figure of each path by its place on the page."""
    return {each.id: _figure(night, each.path, each.start) for each in found if each.path.is_trusted}


def ablation_heading(night: Night, found: list[Ablation]) -> str:
    """Return the step of the first path that gains most, if its gain exceeds chance."""
    first = found[0]
    certain = [step for step in first.path.steps if step.is_certain and step.gain.low > 0]
    if not certain:
        return f"No step from {first.start} to the winner gains more than chance{night.after_epochs}"
    best = max(certain, key=lambda step: step.gain.middle)
    steps = list(first.path.steps)
    before = first.path.score if best is steps[0] else steps[steps.index(best) - 1].score
    scores = f"from {_score(night, before)} to {_score(night, best.score)}"
    return f"From {first.start}, {_named(best)} gains most{night.after_epochs}: {scores}, by the surrogate"


def ablation_rows(night: Night, found: list[Ablation]) -> list[dict[str, Any]]:
    """Return the tables of the paths, with what is known of their uncertainty."""
    return [
        {
            "id": each.id,
            "start": each.start,
            "said": _said(night, each),
            "is_trusted": each.path.is_trusted,
            "alt": "; ".join(f"{_named(step)}: {_between(night, step.score)}" for step in each.path.steps),
            "origin": _between(night, each.path.score),
            "origin_values": [(name, value_text(value, SHORT)) for name, value in _varied(night, each).items()],
            "steps": [_row(night, step) for step in each.path.steps],
            "trained": _trained_text(night, each.path.start),
            "has_trained": any(_trained(night, params) for params in _configurations(each.path)),
        }
        for each in found
    ]


def _varied(night: Night, found: Ablation) -> Mapping[str, Value]:
    names = set(night.space.varying) if night.space is not None else set()
    return {name: value for name, value in found.path.start.items() if name in names}


def _row(night: Night, step: AblationStep) -> dict[str, Any]:
    return {
        "changes": [(each.name, _value(each.before), _value(each.after)) for each in step.changes],
        "score": _score(night, step.score),
        "interval": _between(night, step.score),
        "is_certain": step.is_certain,
        "is_loss": step.gain.high < 0,
        "trained": _trained_text(night, step.params),
    }


def _configurations(path: AblationPath) -> list[Params]:
    return [path.start, *(each.params for each in path.steps)]


def _trained(night: Night, params: Params) -> list[float]:
    """Return the scores of the trainings of a configuration, of the winner's its replicates; finite ones alone.

    Of several trainings with one seed, by code that changed between them, the last one counts.
    """
    winner = night.winner
    runs = [*night.ablation, *(each for each in night.replicates if _is_of(each.result, winner))]
    held = [each for each in runs if _holds(each.result.trial.params, params)]
    last = {each.result.trial.seed: each.result for each in sorted(held, key=lambda each: each.ended)}
    return [each.objective for each in last.values() if each.is_ranked]


def _is_of(result: TrialResult, winner: TrialResult | None) -> bool:
    return winner is not None and result.trial.number == winner.trial.number


def _holds(params: Params, wanted: Params) -> bool:
    return all(name in params and is_same(params[name], value) for name, value in wanted.items())


def _ring(night: Night, params: Params) -> float | None:
    """Return the mean of the trainings, which are full ones; None without any, and where trials are compared before."""
    scores = [] if night.compared_epochs else _trained(night, params)
    return float(np.mean(scores)) if scores else None


def _trained_text(night: Night, params: Params) -> str:
    """Return the mean of the trainings with their range, and how many there are."""
    scores, m = _trained(night, params), night.measure
    if not scores:
        return "not trained"
    ends = f"{m.text(min(scores))} to {m.text(max(scores))}"
    return f"{m.text(float(np.mean(scores)))}, {ends} of {counted(len(scores), 'seed')}"


def _said(night: Night, found: Ablation) -> str:
    path, m = found.path, night.measure
    explained = f"{100 * max(path.explained, 0):.0f}{SPACE}%"
    forest = f"A forest on {counted(path.trials, 'trial')}{night.after_epochs}"
    judged = f"{forest} explains {explained} of the differences out of bag"
    if not path.is_trusted:
        return f"{judged}: too little to say what a step does. More trials may show it."
    if m.kind == "linear":
        error = m.points(path.error / (100.0 if m.is_percent else 1.0))
        judged = f"{judged}; it is usually off by {error} at one trial"
    last, confirmed = path.steps[-1].score, night.confirmed
    known = f", confirmed {m.text(confirmed.finalist.mean)}" if confirmed is not None else ""
    expects = f"At the winner it expects {_score(night, last)}{night.after_epochs}"
    reached = f"{expects} ({_then(night)}in the search {m.text(_found(night))}{known})."
    steps = f"Each step is the change of which it expects most then; intervals are 80{SPACE}% over resampled trials."
    return f"{judged}. {reached} {steps}"


def _then(night: Night) -> str:
    """Return what the winner had at the rung at which the trials are compared; empty without rungs."""
    there = [each for each in night.compared if night.compared_epochs and _is_of(each, night.winner)]
    return f"it had {night.measure.text(there[0].objective)} then, " if there else ""


def _found(night: Night) -> float:
    return night.winner.objective if night.winner is not None else 0.0


def _named(step: AblationStep) -> str:
    shown = [_change(each) for each in step.changes[:SHOWN_CHANGES]]
    more = len(step.changes) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _change(change: Change) -> str:
    if change.after is None:
        return f"without {change.name}"
    return f"{change.name} {_value(change.after)}"


def _value(value: Value) -> str:
    return "–" if value is None else value_text(value, SHORT)


def _score(night: Night, expected: Expected) -> str:
    return night.measure.text(night.measure.score(expected.middle))


def _between(night: Night, expected: Expected) -> str:
    ends = sorted(night.measure.score(end) for end in (expected.low, expected.high))
    return f"{_score(night, expected)}, {' to '.join(map(night.measure.text, ends))}"


def _figure(night: Night, path: AblationPath, start: str) -> Spec:
    """Return the expected score after each step with its interval; names stand above, for narrow pages."""
    m, rows = night.measure, _rows(night, path, start)
    scores = [m.score(getattr(score, name)) for _, score in _scored(path) for name in ("low", "high")]
    scores += [known for params in _configurations(path) if (known := _ring(night, params)) is not None]
    ends = m.ends(scores, 0.06)
    x = field("middle", scale=m.scale(ends), axis={**m.axis(ends), "grid": True, "domain": False, "ticks": False})
    left = {"value": 0}
    y = field("place", scale={"domain": [-0.5, len(rows) - 0.5], "nice": False, "reverse": True}, axis=None)
    colour = {
        "condition": [{"test": "datum.is_last", "value": ACCENT}, {"test": "datum.is_certain", "value": INK}],
        "value": DOT,
    }
    low = {"x": {**x, "field": "low"}, "x2": {"field": "high"}, "y": y}
    line = {"type": "line", "color": SOFT, "strokeWidth": 1, "opacity": 0.6, "yOffset": 7}
    bar, dot = {"type": "rule", "strokeWidth": 5, "opacity": 0.3, "yOffset": 7}, {"type": "circle", "size": 90}
    layers: list[Spec] = [
        {"data": values(rows), "mark": bar, "encoding": {**low, "color": colour}},
        {"data": values(rows), "mark": line, "encoding": {"x": x, "y": y, "order": {"field": "place"}}},
        {
            "data": values(rows),
            "mark": {**dot, "opacity": 1, "yOffset": 7},
            "encoding": {"x": x, "y": y, "color": colour},
        },
        {
            "data": values([row for row in rows if row["trained"] is not None]),
            "mark": {"type": "point", "size": 150, "strokeWidth": 1.6, "color": CHAMPION, "opacity": 1, "yOffset": 7},
            "encoding": {"x": {**x, "field": "trained"}, "y": y},
        },
        text_layer(rows, left, y, dy=-8),
    ]
    return frame(layers, ROW * len(rows) + 30, top=2)


def _scored(path: AblationPath) -> list[tuple[AblationStep | None, Expected]]:
    """Return the start, whose step is None, and each step with its expected score."""
    return [(None, path.score), *((step, step.score) for step in path.steps)]


def _rows(night: Night, path: AblationPath, start: str) -> list[Spec]:
    """Return the name of each step, its interval and, if it was trained, its mean score."""
    m, rows = night.measure, []
    for place, (step, score) in enumerate(_scored(path)):
        numbers: dict[str, float | None] = {name: m.bent(getattr(score, name)) for name in ("low", "middle", "high")}
        trained = _ring(night, path.start if step is None else step.params)
        numbers["trained"] = None if trained is None else m.drawn(trained)
        name = f"start: {start}" if step is None else f"{place}. {_named(step)}"
        is_last, is_certain = step is path.steps[-1], step is not None and step.is_certain
        rows.append({"place": place, "text": name, "is_certain": is_certain, "is_last": is_last, **numbers})
    return rows
