"""The tables of the report as rows of texts, which the template escapes."""

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nightune.models.user_code import is_reference
from nightune.tasks.reporting.night.answer import headline
from nightune.tasks.reporting.night.figures import kind_of
from nightune.tasks.reporting.night.measure import Measure, duration, head_of, measure_of, whole
from nightune.tasks.reporting.night.phrases import (
    interval,
    machine_time,
    promote_command,
    status_text,
    tune_command,
)
from nightune.tasks.reporting.night.record import Night
from nightune.tasks.tracking.registry.registry import CHAMPION
from nightune.tasks.tracking.store import names
from nightune.tuning.analysis.confirmation import is_rival
from nightune.tuning.analysis.failures import failure_groups, failure_lines
from nightune.tuning.analysis.value_text import value_text
from nightune.tuning.trial import TrialResult
from nightune.vocabulary import ARCHITECTURE, OBJECTIVES, VALIDATION_PREFIX, counted

CELL_CHARACTERS = 80
MOST_COLUMNS = 24  # params of the table of all trials

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Fact:
    """A large number beside the answer, with its name and its doubt, and the page of the run that it is of."""

    value: str
    name: str
    doubt: str
    link: str = ""


def facts(night: Night) -> list[Fact]:
    """Return at most four numbers: the score, the chance to be best, the value on the sealed rows, the time."""
    m, confirmed, sweep = night.measure, night.confirmed, night.link(night.sweep.run_id)
    winner = "" if night.winner is None else night.link(night.winner.run_id)
    found: list[Fact] = []
    if night.winner is not None:
        seeds = "one seed" if confirmed is None else interval(night, confirmed)
        name = m.full_name if confirmed is None else f"confirmed {m.full_name}"
        found.append(Fact(m.text(night.score), name, seeds, winner))
    if confirmed is not None and night.confirmation is not None and math.isfinite(confirmed.best_probability):
        finalists = night.confirmation.finalists
        others = sum(is_rival(each, night.confirmation) for each in finalists if each != confirmed)
        doubt = f"{others} of the other {len(finalists) - 1} may be better" if others else "no other may be better"
        found.append(Fact(f"{confirmed.best_probability:.2f}", "chance to be the best finalist", doubt, winner))
    elif len(night.full) > 1:
        found.append(Fact(m.text(night.median), f"median {m.name}", f"of {len(night.full)} trials", sweep))
    values = night.sealed
    if values is not None:
        other = f"a guess: {m.text(values.baseline)}"
        other = other if values.champion is None else f"the champion: {m.text(values.champion)}"
        found.append(Fact(m.text(values.challenger), f"{m.name}{night.sealed_unit} on sealed rows", other, sweep))
    trained = counted(len(night.trials), "trial")
    if night.replicates:
        trained += f", {counted(len(night.replicates), 'fresh seed')}"
    return [*found, Fact(machine_time(night), "of training", trained, sweep)]


def failures(night: Night) -> list[Row]:
    """Return why trials failed or are not ranked, once for all alike, with a link to the first one's run."""
    groups = failure_groups(night.results)
    lines = failure_lines(groups)
    return [
        {"line": line, "link": night.link(group.run_id), "has_traceback": group.has_traceback}
        for group, line in zip(groups, lines, strict=True)
    ]


def metric_rows(night: Night) -> list[Row]:
    """Return every metric of the winner, on the validation rows as far as its trial has it, and on the sealed rows."""
    sealed = night.verdict.test_metrics if night.verdict is not None else {}
    reported = {name.removeprefix(VALIDATION_PREFIX): value for name, value in night.reported.items()}
    return [
        {
            "name": _measure(night, name).full_name,
            "validation": _metric_text(night, name, reported),
            "test": _metric_text(night, name, sealed),
        }
        for name in dict.fromkeys((*sealed, *reported))
    ]


def _metric_text(night: Night, name: str, values: Mapping[str, float]) -> str:
    value = values.get(name)
    if value is None:
        return "–"
    return _measure(night, name).text(value, 1) if math.isfinite(value) else "not defined"


def _measure(night: Night, name: str) -> Measure:
    metric = f"{VALIDATION_PREFIX}{name}"
    known = night.known_metric(metric)
    direction, head = OBJECTIVES.get(known, night.sweep.direction), head_of(metric, known)
    return measure_of(known, direction, (), None, night.has_scaled_target, head)


def finalist_rows(night: Night) -> list[Row]:
    """Return the finalists, best confirmed mean first."""
    m, held = night.measure, night.confirmation
    return [
        {
            "trial": each.finalist.trial,
            "link": night.link(each.finalist.run_id),
            "is_winner": held is not None and held.is_winner(each),
            "is_within": each.is_within,
            "search": m.text(each.finalist.search_score, 1),
            "mean": m.text(each.finalist.mean, 1) if each.finalist.is_sound else "not finite",
            "interval": interval(night, each),
            "luck": m.points(-night.improvement(each.finalist.mean, each.finalist.search_score), is_signed=True)
            if each.finalist.is_sound
            else "–",
            "chance": "–" if math.isnan(each.best_probability) else f"{each.best_probability:.2f}",
            "seeds": len(each.finalist.scores),
            "parameters": whole(each.finalist.parameters),
            "seconds": duration(each.finalist.seconds),
        }
        for each in (held.finalists if held is not None else ())
    ]


def trial_table(night: Night) -> tuple[list[str], list[Row]]:
    """Return the names of the params that vary, and all trials, best first."""
    columns = night.varying[:MOST_COLUMNS]
    best = night.ranked[0].objective if night.ranked else math.nan
    return columns, [_trial_row(night, rank, each, columns, best) for rank, each in enumerate(night.results, start=1)]


def _trial_row(night: Night, rank: int, result: TrialResult, columns: list[str], best: float) -> Row:
    is_own = result.is_ranked and result.trial.number not in night.inherited
    near = is_own and night.improvement(best, result.objective) <= night.seed_band  # False for NaN
    has_score = bool(result.best_epoch) and math.isfinite(result.objective)
    return {
        "rank": rank if result.is_ranked else None,
        "trial": result.trial.number,
        "link": night.link(result.run_id),
        "is_winner": kind_of(night, result) == "winner",
        "is_near": near,
        "score": night.measure.text(result.objective, 1) if has_score else "none",
        "number": repr(result.objective) if has_score else "",
        "status": _ended(night, result),
        "best_epoch": result.best_epoch,
        "epoch": f"{result.best_epoch}/{result.epochs}" if result.epochs else "–",
        "seconds": result.seconds,
        "cells": [_cell(result, name) for name in columns],
    }


def _ended(night: Night, result: TrialResult) -> str:
    """Return how a trial ended, and whether it is no better than the one that it continues."""
    text, parent = status_text(night, result.status), result.trial.parent
    return f"{text}, no better than trial {parent.trial}" if parent is not None and result.is_inherited else text


def _cell(result: TrialResult, name: str) -> tuple[str, str]:
    """Return a param's text and the number to sort it by, empty for texts."""
    if name not in result.trial.params:
        return "", ""
    value = result.trial.params[name]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value_text(value, CELL_CHARACTERS), repr(value) if is_number else ""


def winner_params(night: Night) -> list[tuple[str, str]]:
    """Return the params of the winner that vary between trials, in full."""
    params = night.winner.trial.params if night.winner is not None else {}
    return [(name, str(value_text(params[name]))) for name in night.varying if name in params]


def origin_rows(night: Night) -> list[tuple[str, str]]:
    """Return where the sweep comes from: data, seed, commit, engine, device and software."""
    origin, sweep = night.origin, night.sweep
    changed = " and changed files" if origin.is_changed else ""
    rows = ", ".join(f"{many} {name}" for name, many in night.row_counts.items())
    software = ", ".join(f"{name.removeprefix('package ')} {version}" for name, version in origin.environment.items())
    found = {
        "Rows": rows,
        "Data version": sweep.data_version,
        "Study digest": sweep.study_digest,
        "Seed": str(origin.content.get("seed", "")),
        "Commit": f"{origin.commit}{changed}" if origin.commit else "",
        "Engine": sweep.engine,
        "Device": origin.device,
        "Software": software,
    }
    return [(name, text or "not recorded") for name, text in found.items()]


def commands(night: Night, study_file: str, is_edited: bool = False) -> str:
    """Return the commands that show the sweep, train its trials again, search further, and judge the winner."""
    again = tune_command(night, study_file)
    sweep, study = night.sweep, shlex.quote(study_file)
    found = [("show this sweep", f"nightune show {study} --sweep {sweep.id}")]
    if not sweep.is_complete:
        found.append(("complete this sweep", again))
    nights = f", then {sweep.number} × with --fresh" if sweep.number else ""
    edited = f", with the sweep's artifact {names.STUDY_FOLDER}/{night.study}.toml: {study_file} has changed since"
    found.append((f"in an empty store{nights}: the same trials{edited if is_edited else ''}", again))
    if not sweep.has_all_points:
        found.append(("new points", f"{again} --fresh"))
    if night.winner is not None and night.verdict is None and sweep.is_complete:
        found.append(("confirm and judge the winner", promote_command(night, study_file)))
    return "\n".join(f"# {purpose}\n{command}" for purpose, command in found)


def load_winner(night: Night, address: str) -> str:
    """Return Python that loads the winner: the registered version, or the trial's checkpoint; empty without either."""
    head = f"import mlflow\n\nmlflow.set_tracking_uri({address!r})\n"
    if night.version is not None:
        name = f"models:/{night.study}/{night.version}"
        if night.version == night.serving:
            name = f"models:/{night.study}@{CHAMPION}"
        return f"{head}model = mlflow.pyfunc.load_model({name!r})\nmodel.predict(raw_dataframe)"
    winner = night.winner
    if winner is None or night.sweep.has_folds or is_reference(str(winner.trial.params.get(ARCHITECTURE, ""))):
        return ""  # no file that Keras opens by itself: `nightune promote` makes one that serves raw rows
    artifact = f"mlflow.artifacts.download_artifacts(run_id={winner.run_id!r}, artifact_path='checkpoint/model.keras')"
    return f"import keras\n{head}path = {artifact}\nmodel = keras.saving.load_model(path, compile=False)"


def load_trials(night: Night, address: str) -> str:
    """Return Python that reads the trials as a DataFrame, best first."""
    condition = f"{names.tag_equals(names.SWEEP, night.sweep.id)} and {names.tag_equals(names.KIND, 'trial')}"
    order = f"metrics.{names.OBJECTIVE} {'DESC' if night.measure.is_maximized else 'ASC'}"
    return (
        f"import mlflow\n\nmlflow.set_tracking_uri({address!r})\ntrials = mlflow.search_runs(\n"
        f"    experiment_names=[{night.study!r}],\n    filter_string={condition!r},\n    order_by=[{order!r}],\n)"
    )


def summary(night: Night) -> Row:
    """Return the numbers of the report, as MLflow has them, for `--json`."""
    champion = night.champion
    return {
        "sweep_id": night.sweep.id,
        "study": night.study,
        "status": str(night.sweep.status),
        "headline": headline(night),
        "metric": night.sweep.metric,
        "verdict": None if night.verdict is None else str(night.verdict.decision),
        "winner": _winner_numbers(night),
        "median": night.median if night.full else None,
        "champion": None if champion is None else {"version": champion.version, "confirmed_score": champion.score},
        "trials": {"planned": night.sweep.planned_trials, "finished": len(night.trials)},
    }


def _winner_numbers(night: Night) -> Row | None:
    winner, confirmed = night.winner, night.confirmed
    if winner is None:
        return None
    has_interval = confirmed is not None and math.isfinite(confirmed.low)
    return {
        "trial": winner.trial.number,
        "run_id": winner.run_id,
        "objective": winner.objective,
        "confirmed": None if confirmed is None else confirmed.finalist.mean,
        "interval": [confirmed.low, confirmed.high] if confirmed is not None and has_interval else None,
    }
