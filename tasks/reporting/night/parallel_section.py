"""All dimensions at once: parallel coordinates that can be brushed, drawn by the page's own script."""

from typing import Any

from nightune.tasks.reporting.night.figures import kind_of
from nightune.tasks.reporting.night.headings import SHORT
from nightune.tasks.reporting.night.measure import TICKS, Measure
from nightune.tasks.reporting.night.record import Night
from nightune.tuning.analysis.common_values import common_value
from nightune.tuning.analysis.importance import TOP_SHARE
from nightune.tuning.analysis.value_text import value_text
from nightune.tuning.search.domains import Cases, Choice
from nightune.tuning.search.search_space import Dimension
from nightune.tuning.trial import TrialResult, Value
from nightune.vocabulary import counted

MOST_AXES = 16
FEWEST_TRIALS = 4
DIGITS = 4  # of a place

Row = dict[str, Any]


def parallel_data(night: Night) -> Row | None:
    """Return axes and lines, the score first; None without a recorded space or with few trials."""
    axes = _axes(night)
    if len(night.compared) < FEWEST_TRIALS or not axes:
        return None
    m = night.measure
    reach = night.compared_reach
    ends = sorted(m.straight(score, reach) for score in reach)
    ends = ends if m.grows else ends[::-1]
    span = ends[1] - ends[0] or 1.0
    lines = [
        {
            "trial": each.trial.number,
            "kind": kind_of(night, each),
            "u": [round((m.straight(each.objective, reach) - ends[0]) / span, DIGITS), *_places(axes, each)],
        }
        for each in night.compared
    ]
    first = {"name": f"{m.name}{night.after_epochs}", "ticks": _score_ticks(m, reach, ends[0], span)}
    return {"axes": [first, *({"name": each.name, "ticks": _ticks(each)} for each in axes)], "lines": lines}


def parallel_heading(night: Night) -> str:
    """Return what the best quarter of the trials has in common by more than chance."""
    best = _quarter(night)
    found = common_value(_axes(night), night.compared, best, SHORT)
    if found is None:
        trials = f"{counted(best, 'trial')}{night.after_epochs}"
        return f"The best {trials} have no value in common that chance does not explain"
    all_of_them = f"all {len(night.compared)}{' compared' if night.compared_epochs else ''}"
    said = f"{found.best} of the best {best} trials{night.after_epochs} have {found.said}"
    return f"{said}, {found.everywhere} of {all_of_them}"


def _quarter(night: Night) -> int:
    return max(1, round(TOP_SHARE * len(night.compared)))


def _axes(night: Night) -> list[Dimension]:
    """Return the searched dimensions, those that matter most first."""
    if night.space is None:
        return []
    names = [name for name in night.varying if name in night.space.by_name]
    ordered = [each.name for each in night.effects]
    names.sort(key=lambda name: ordered.index(name) if name in ordered else len(ordered))
    return [night.space.by_name[name] for name in names[:MOST_AXES]]


def _places(axes: list[Dimension], result: TrialResult) -> list[float | None]:
    places = [each.place(result.trial.params) for each in axes]
    return [None if place is None else round(place, DIGITS) for place in places]


def _ticks(dimension: Dimension) -> list[tuple[float, str]]:
    domain = dimension.domain
    if isinstance(domain, Choice):
        return [(round(domain.to_unit(option), DIGITS), value_text(option, SHORT)) for option in domain.options]
    if isinstance(domain, Cases):
        return [(0.0, "low"), (1.0, "high")]
    ends: list[tuple[float, Value]] = [(0.0, domain.low), (0.5, domain.from_unit(0.5)), (1.0, domain.high)]
    return [(place, value_text(value, SHORT)) for place, value in ends]


def _score_ticks(m: Measure, reach: tuple[float, float], low: float, span: float) -> list[tuple[float, str]]:
    """Return the two ends of the scores and round values between them."""
    scores = list(reach)
    if m.kind == "missing":
        scores += [1 - tick / 100 for tick in TICKS if reach[0] < 1 - tick / 100 < reach[1]]
    placed = sorted((round((m.straight(score, reach) - low) / span, DIGITS), m.text(score)) for score in scores)
    kept = placed[:1]
    for place, text in placed[1:-1]:
        if place - kept[-1][0] > 0.12 and placed[-1][0] - place > 0.12:
            kept.append((place, text))
    return [*kept, placed[-1]]
