"""The parts of the report on the data, its drift, and what changed since the night before."""

import math
from collections.abc import Sequence
from typing import Any

from nightune.tasks.reporting.night.measure import SPACE, Measure, whole
from nightune.tasks.reporting.night.record import Night
from nightune.tasks.reporting.night.tables import Row
from nightune.tasks.tracking.sweeps.profiles import DataNews, DataProfile
from nightune.tuning.analysis.changes import Change
from nightune.tuning.analysis.drift import LEVEL, SMALLEST, Drift
from nightune.tuning.analysis.sweep_comparison import METRIC_CODE, Difference, Score
from nightune.tuning.analysis.value_text import value_text
from nightune.vocabulary import counted

MOST_DRIFTS = 12
MOST_COLUMNS = 200
MOST_CHANGES = 30
CELL_CHARACTERS = 120
NAMED = 3


def data_part(night: Night) -> dict[str, Any]:
    """Return what the template draws of the data."""
    profile, news = night.accounts.profile, night.accounts.news
    return {
        "heading": _heading(night, profile, news),
        "rows": _data_rows(night, profile),
        "findings": list(night.findings),
        "is_recorded": profile is not None,
        "against": "" if news is None else news.against.id,
        "drifts": [_drift_row(each) for each in _shown(news)],
        "left": 0 if news is None else max(0, len(news.comparison.columns) - len(_shown(news))),
        "notes": _notes(night, news),
        "columns": [] if profile is None else [_column_row(each) for each in profile.columns[:MOST_COLUMNS]],
        "more_columns": 0 if profile is None else max(0, len(profile.columns) - MOST_COLUMNS),
    }


def since_part(night: Night) -> dict[str, Any] | None:
    """Return what the template draws of what changed; None in the first night of a study."""
    found = night.accounts.since
    if found is None:
        return None
    changes = [each for each in found.changes if each.before != each.after]
    return {
        "heading": _since_heading(found.scores[0].sweep, changes),
        "changes": [_change_row(each) for each in changes[:MOST_CHANGES]],
        "left": max(0, len(changes) - MOST_CHANGES),
        "winners": [_winner_row(night, score, has_one_unit(found)) for score in found.scores],
        "has_one_unit": has_one_unit(found),
        "params": [_change_row(each) for each in found.best_params],
        "is_comparable": found.is_comparable,
        "before": found.scores[0].sweep,
        "after": found.scores[1].sweep,
    }


def has_one_unit(found: Difference) -> bool:
    """Return True if the scores of both nights are of one metric in one unit, whatever their data."""
    before, after = ((each.metric, each.unit) for each in found.scores)
    return before == after and METRIC_CODE not in {each.name for each in found.changes}


def data_numbers(night: Night) -> Row | None:
    """Return the comparison of the data with that of an earlier night for `--json`."""
    news = night.accounts.news
    if news is None:
        return None
    columns = [
        {"name": each.name, "distance": each.distance, "threshold": each.threshold, "is_drift": each.is_drift}
        for each in news.comparison.columns
    ]
    return {"against": news.against.id, "columns": columns, "added": list(news.comparison.added)} | {
        "removed": list(news.comparison.removed)
    }


def _heading(night: Night, profile: DataProfile | None, news: DataNews | None) -> str:
    if profile is None:
        return f"Data version {night.sweep.data_version}"
    if news is None:
        return f"{whole(sum(profile.sizes.values()))} rows; no earlier night to compare them with"
    found = news.comparison
    if night.sweep.data_version == news.against.data_version:
        return f"The same data as in {news.against.id}"
    drifted = [each.name for each in found.drifted]
    if not drifted and not found.added and not found.removed:
        return f"Other data than in {news.against.id}, and no column drifted"
    if not drifted:
        return f"Other columns than in {news.against.id}; none of the others drifted"
    verb = "drifted" if len(drifted) > 1 else "has drifted"
    return f"{_listed(drifted)} {verb} since {news.against.id}"


def _listed(names: Sequence[str]) -> str:
    shown = [str(value_text(each, 40)) for each in names[:NAMED]]
    if len(names) > NAMED:
        return f"{', '.join(shown)} and {len(names) - NAMED} more"
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))


def _data_rows(night: Night, profile: DataProfile | None) -> list[tuple[str, str]]:
    sizes = night.row_counts if profile is None else profile.sizes
    rows = ", ".join(f"{whole(many)} {name}" for name, many in sizes.items())
    found = {"Rows": rows, "Version": night.sweep.data_version}
    if profile is None:
        return [(name, text or "not recorded") for name, text in found.items()]
    split = ", ".join(f"{name} {value}" for name, value in profile.split.items() if value not in (None, 0, 0.0, False))
    found = {"Source": profile.source, "Task": profile.task} | found | {"Split": split}
    if profile.classes:
        rows_of_all = sum(profile.classes.values())
        shares = [f"{name} {100 * many / max(1, rows_of_all):.0f}{SPACE}%" for name, many in profile.classes.items()]
        found["Classes"] = ", ".join(shares[:20]) + (f", {len(shares) - 20} more" if len(shares) > 20 else "")
    return list(found.items())


def _shown(news: DataNews | None) -> list[Drift]:
    if news is None:
        return []
    drifted = len(news.comparison.drifted)
    return list(news.comparison.columns[: max(MOST_DRIFTS, min(drifted, MOST_COLUMNS))])


def _notes(night: Night, news: DataNews | None) -> list[str]:
    if news is None:
        return []
    notes = []
    if night.sweep.data_version == news.against.data_version:
        notes.append("The versions are equal: no row has changed.")
    if news.comparison.added:
        notes.append(f"New: {_listed(news.comparison.added)}.")
    if news.comparison.removed:
        notes.append(f"No longer there: {_listed(news.comparison.removed)}.")
    level = f"{100 * LEVEL:g}{SPACE}%"
    notes.append(
        f"A distance is a share of rows. From its threshold on, samples of one distribution differ in {level} of all "
        f"nights at most, over all columns together; a distance below {SMALLEST:g} is never drift. Sealed rows are "
        "left out."
    )
    return notes


def _drift_row(each: Drift) -> Row:
    return {
        "name": each.name,
        "role": each.role,
        "measure": each.measure,
        "distance": f"{each.distance:.3f}",
        "threshold": f"{each.threshold:.3f}",
        "said": each.said.replace(" %", f"{SPACE}%"),
        "is_drift": each.is_drift,
    }


def _column_row(line: Any) -> list[str]:
    cells = [line.get(name) for name in ("name", "read_as", "distinct", "missing", "example", "done")]
    return ["" if each is None else str(each) for each in cells]


def _since_heading(before: str, changes: Sequence[Change]) -> str:
    if not changes:
        return f"Nothing changed since {before} but the points that were drawn"
    named = _listed([_plain_name(each.name) for each in changes])
    return f"{counted(len(changes), 'thing')} changed since {before}: {named}"


def _change_row(each: Change) -> tuple[str, str, str]:
    sides = (each.before, each.after)
    before, after = ("–" if side in (None, "") else str(value_text(side, CELL_CHARACTERS)) for side in sides)
    return _plain_name(each.name), before, after


def _plain_name(name: str) -> str:
    """Return the name of a key of the study instead of the place of its value in the study's content."""
    return name.removeprefix("space.").replace(".domain.", " · ")


def _winner_row(night: Night, score: Score, has_one_unit: bool) -> Row:
    is_now = score.sweep == night.sweep.id
    is_ours, m = is_now or has_one_unit, night.measure
    is_known = score.confirmed is not None and math.isfinite(score.confirmed)
    interval = "–"
    if is_known and score.low is not None and score.high is not None and math.isfinite(score.low):
        ends = m.within_limits(score.low, score.high) if is_ours else (score.low, score.high)
        interval = " to ".join(_score_text(m, score, each, is_ours) for each in ends)
    decision, _, reason = score.verdict.partition(": ")
    return {
        "sweep": score.sweep,
        "trial": "–" if score.trial is None else str(score.trial),
        "search": "–" if score.searched is None else _score_text(m, score, score.searched, is_ours),
        "confirmed": _score_text(m, score, score.confirmed or 0.0, is_ours) if is_known else "–",
        "interval": interval,
        "on_sealed": "–" if score.values is None else f"{score.values.challenger:.4g}",
        "verdict": decision or "not judged",
        "reason": reason,
        "trials": score.trials,
        "is_now": is_now,
    }


def _score_text(m: Measure, score: Score, value: float, is_ours: bool) -> str:
    """Return a score as this night writes its own; of another metric or unit as a number with its name."""
    if is_ours:
        return m.text(value)
    return f"{value:.4g}{SPACE}{score.metric}{f' in {score.unit}' if score.unit else ''}"
