"""Draw the report of a sweep: one page that needs no network.

A policy in its head allows no request, and no script but the page's own two. Texts of users are escaped by the
template; the data of the figures are JSON in which no `<`, `>` or `&` stands as itself.
"""

import base64
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from nightune.tasks.reporting.night import headings, tables
from nightune.tasks.reporting.night.ablation_section import (
    ablation_heading,
    ablation_rows,
    ablation_specs,
    ablations,
)
from nightune.tasks.reporting.night.answer import answer, headline
from nightune.tasks.reporting.night.answers_section import answer_sections, answer_specs, answers_heading
from nightune.tasks.reporting.night.beliefs_part import beliefs_part, beliefs_specs
from nightune.tasks.reporting.night.charts_library import charts_library
from nightune.tasks.reporting.night.curves_figure import curve_columns
from nightune.tasks.reporting.night.data_part import data_part, since_part
from nightune.tasks.reporting.night.effects_figures import importance, isolation
from nightune.tasks.reporting.night.figures import trial_rows
from nightune.tasks.reporting.night.finalists_figure import finalists
from nightune.tasks.reporting.night.front_part import front_part, front_specs
from nightune.tasks.reporting.night.history_figure import history
from nightune.tasks.reporting.night.ledger_part import ledger_part
from nightune.tasks.reporting.night.measure import Spec
from nightune.tasks.reporting.night.next_steps import Advice
from nightune.tasks.reporting.night.pairs_section import (
    examined_pairs,
    pair_rows,
    pair_specs,
    pairs_heading,
    pairs_note,
)
from nightune.tasks.reporting.night.parallel_section import parallel_data, parallel_heading
from nightune.tasks.reporting.night.phrases import sentence_parts, write_command
from nightune.tasks.reporting.night.record import Night
from nightune.tasks.reporting.night.stills import Still, still
from nightune.tasks.reporting.night.stopping_part import stopping_part
from nightune.tasks.reporting.night.strip_figure import strip
from nightune.tuning.analysis.fanova import MINIMUM_ROWS
from nightune.tuning.trial import TrialResult

FEWEST_PANELS = 3
TECHNIQUES = ("optimizer", "one_minus_momentum", "learning_rate", "batch_size", "weight_decay", "penalty", "stopping")
FEWEST_ADVISED = 5  # ranked trials, below which nothing can be said to do next


@dataclass(frozen=True)
class Context:
    """What the page says beside the sweep: the study file for commands, the store's address for Python code.

    `is_edited`: the study file has changed since the sweep. `advice` is what to do next. `kept` is a folder that keeps
    the charts' library for later pages.
    """

    study_file: str
    address: str
    is_edited: bool = False
    advice: Sequence[Advice] = ()
    kept: Path | None = None


def draw_page(night: Night, context: Context) -> str:
    """Return the page as HTML."""
    columns, answers = curve_columns(night), answer_sections(night)
    together, pairs = _together(night)
    ablation, paths = _ablation(night)
    curves = {f"curves-{result.trial.number}": spec for result, spec in columns}
    specs = _figures(night) | pairs | answer_specs(answers) | paths | curves | beliefs_specs(night) | front_specs(night)
    reach = night.measure.reach([each.objective for each in night.ranked]) if night.ranked else (0.0, 0.0)
    drawn = trial_rows(night, reach)
    page: str = _template().render(
        night=night,
        m=night.measure,
        headings=headings,
        panels=_panels(night) if "importance" in specs else [],
        is_examined=night.space is not None and len(night.compared) >= MINIMUM_ROWS,
        columns=[_column_head(night, result) for result, _ in columns],
        answers=answers,
        answers_heading=answers_heading(night),
        beliefs=beliefs_part(night),
        front=front_part(night),
        stopping=stopping_part(night),
        ledger=ledger_part(night),
        data_read=data_part(night),
        since=since_part(night),
        started=datetime.fromtimestamp(night.origin.started, UTC),
        specs=_json(specs),
        specs_of={name: name in specs for name in ("strip", "history", "finalists", "importance")},
        band=night.measure.points(night.seed_band) if math.isfinite(night.seed_band) else "",
        data=_json(drawn),
        has_beyond=any(row["beyond"] for row in drawn),
        alt=_alternatives(night),
        **_answer(night, context),
        **together,
        **ablation,
        **_tables(night, context),
        **_code(context),
    )
    return page


def _answer(night: Night, context: Context) -> dict[str, Any]:
    return {
        "headline": headline(night),
        "sentences": [sentence_parts(night, sentence) for sentence in answer(night, context.study_file)],
        "advice": context.advice,
        "is_advised": len(night.ranked) >= FEWEST_ADVISED,
        "write_command": write_command(night, context.study_file),
    }


def _together(night: Night) -> tuple[dict[str, Any], dict[str, Spec]]:
    """Return the part on dimensions that work together, and its figures."""
    examined, lines = examined_pairs(night), parallel_data(night)
    part = {
        "pairs": pair_rows(night, examined),
        "pairs_examined": examined.pairs,
        "pairs_heading": pairs_heading(night, examined),
        "pairs_note": pairs_note(examined),
        "parallel": "" if lines is None else _json(lines),
        "parallel_heading": "" if lines is None else parallel_heading(night),
    }
    return part, pair_specs(night, examined)


def _ablation(night: Night) -> tuple[dict[str, Any], dict[str, Spec]]:
    """Return the part on the path to the winner, and its figures."""
    paths = ablations(night)
    heading = ablation_heading(night, paths) if paths else ""
    return {"ablations": ablation_rows(night, paths), "ablation_heading": heading}, ablation_specs(night, paths)


def _tables(night: Night, context: Context) -> dict[str, Any]:
    names, rows = tables.trial_table(night)
    return {
        "facts": tables.facts(night),
        "failures": tables.failures(night),
        "finalists": tables.finalist_rows(night),
        "metrics": tables.metric_rows(night),
        "names": names,
        "rows": rows,
        "winner_params": tables.winner_params(night),
        "origin": tables.origin_rows(night),
        "commands": tables.commands(night, context.study_file, context.is_edited),
        "load_winner": tables.load_winner(night, context.address),
        "load_trials": tables.load_trials(night, context.address),
    }


def _code(context: Context) -> dict[str, Any]:
    """Return the styles and scripts of the page, with the digests that its policy allows."""
    library, script = charts_library(context.kept), f"{_part('page.js')}\n{_part('parallel.js')}"
    return {
        "style": f"{_part('page.css')}\n{_part('sections.css')}",
        "library": library,
        "script": script,
        "hashes": [_hash(library), _hash(script)],
    }


def draw_stills(night: Night) -> dict[str, Still]:
    """Return the figures of the page as stills: history, finalists, importance, `along NAME` and `curves NUMBER`."""
    if not night.ranked:
        return {}
    specs, style = _figures(night), _part("page.css")
    rows = trial_rows(night, night.measure.reach([each.objective for each in night.ranked]))
    along = {f"along-{number}": f"along {each.name}" for number, each in enumerate(night.effects)}
    named = {along.get(name, name): spec for name, spec in specs.items()}
    curves = {f"curves {result.trial.number}": spec for result, spec in curve_columns(night)}
    return {name: still(_finite(spec), style, _finite(rows)) for name, spec in (named | curves).items()}


@lru_cache(maxsize=1)
def _template() -> Any:
    from jinja2 import Environment, FunctionLoader, StrictUndefined  # noqa: PLC0415 - only the report needs it

    parts = FunctionLoader(_part)
    environment = Environment(
        loader=parts, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    return environment.get_template("page.html.j2")


def _figures(night: Night) -> dict[str, Spec]:
    if not night.ranked:
        return {}
    reach = night.measure.reach([each.objective for each in night.ranked])
    specs = {"strip": strip(night, reach), "history": history(night, reach)}
    held = night.confirmation
    if held is not None and any(each.finalist.is_sound for each in held.finalists):
        specs["finalists"] = finalists(night)
    bars = [each for each in night.effects if each.share >= headings.SMALL_BAR]
    if bars:
        specs["importance"] = importance(bars, night.after_epochs)
        specs |= {f"along-{number}": isolation(night, each) for number, each in enumerate(night.effects)}
    return specs


def _panels(night: Night) -> list[dict[str, Any]]:
    """Return the figures along each dimension, those of the six techniques first.

    Those that matter, three at least, stand open.
    """
    shown = max(FEWEST_PANELS, sum(each.matters for each in night.effects))
    panels = [
        {
            "id": f"along-{number}",
            "name": each.name,
            "note": headings.effect_note(night, each),
            "is_open": number < shown,
        }
        for number, each in enumerate(night.effects)
    ]
    return sorted(panels, key=lambda panel: _is_of_model(panel["name"]))


def _is_of_model(name: str) -> bool:
    return name.partition(".")[0] not in TECHNIQUES


def _column_head(night: Night, result: TrialResult) -> dict[str, Any]:
    is_winner = night.winner is not None and result.run_id == night.winner.run_id
    is_typical = result is night.full[len(night.full) // 2]
    role = "the winner" if is_winner else "the median trial" if is_typical and len(night.full) > 1 else ""
    ended = {"completed": f"ran all {result.epochs}", "stopped_early": f"stopped at {result.epochs}"}
    said = ended.get(result.status, f"ended at {result.epochs}")
    return {
        "id": f"curves-{result.trial.number}",
        "trial": result.trial.number,
        "link": night.link(result.run_id),
        "role": role,
        "score": night.measure.text(result.objective),
        "said": f"best at epoch {result.best_epoch}, {said}",
    }


def _alternatives(night: Night) -> dict[str, str]:
    """Return what the figures show, for readers who do not see them; the tables hold the numbers."""
    if not night.ranked:
        return {}
    m, best, worst = night.measure, night.ranked[0], night.ranked[-1]
    reach = f"from {m.text(worst.objective)} to {m.text(best.objective)}, the median at {m.text(night.median)}"
    rows = tables.finalist_rows(night)
    means = ", ".join(f"trial {row['trial']} {row['mean']} ({row['interval']})" for row in rows)
    return {
        "strip": f"All trials on one axis, {reach}.",
        "history": f"The scores of {len(night.trials)} trials in the order in which they ended, and the best so far. "
        f"{headings.history_heading(night)}.",
        "importance": _shares_text(night),
        "finalists": f"Means over fresh seeds with their intervals: {means}.",
    }


def _shares_text(night: Night) -> str:
    shares = ", ".join(
        f"{each.name} {100 * each.share:.0f} % (between {100 * each.share_low:.0f} and {100 * each.share_high:.0f} %)"
        for each in night.effects
    )
    return f"Shares of the differences between trials{night.after_epochs}: {shares}."


def _json(value: object) -> str:
    """Return JSON that can stand in a script element: no `<`, `>`, `&` or character above ASCII as itself."""
    text = json.dumps(_finite(value), allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _finite(value: Any) -> Any:
    """Shorten numbers to seven digits, and replace those that JSON lacks by null."""
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value


def _part(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8").strip()


def _hash(script: str) -> str:
    """Return the digest by which a Content-Security-Policy allows a script."""
    digest = hashlib.sha256(f"\n{script}\n".encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
