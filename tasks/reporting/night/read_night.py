"""Read everything that the report of a sweep says from MLflow alone."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace

from nightune.tasks.reporting.night.accounts import read_accounts
from nightune.tasks.reporting.night.record import CURVES, Champion, Night
from nightune.tasks.tracking.registry import registry
from nightune.tasks.tracking.registry.registry import Version
from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.errors import RefusedRequestError
from nightune.tasks.tracking.store.pages import find_pages
from nightune.tasks.tracking.store.store import Store
from nightune.tasks.tracking.sweeps.beliefs import read_beliefs
from nightune.tasks.tracking.sweeps.confirmations import read_confirmation
from nightune.tasks.tracking.sweeps.finalist_answers import read_answers
from nightune.tasks.tracking.sweeps.findings import read_findings
from nightune.tasks.tracking.sweeps.importances import read_importance
from nightune.tasks.tracking.sweeps.metric_code import read_metric_code
from nightune.tasks.tracking.sweeps.origins import read_origin
from nightune.tasks.tracking.sweeps.sweeps import Sweep, all_sweeps
from nightune.tasks.tracking.sweeps.verdicts import read_verdict
from nightune.tasks.tracking.trials.recorded import (
    read_curves,
    read_params,
    read_row_counts,
    recorded_trials,
)
from nightune.tasks.tracking.trials.row_errors import read_row_error
from nightune.tasks.tracking.trials.rungs import objectives_at
from nightune.tasks.tracking.trials.trials import finished_trials
from nightune.tuning.analysis.held_out.summary import FinalistAnswers
from nightune.tuning.analysis.promotion_gate import Verdict
from nightune.tuning.analysis.sweep_comparison import what_is_scored
from nightune.vocabulary import OBJECTIVES, VALIDATION_PREFIX, plain_metric


def read_night(store: Store, study: str, sweep: Sweep) -> Night:
    """Read a complete, failed or unfinished sweep; damaged records are left out with a warning."""
    trials = recorded_trials(store, sweep)
    verdict = read_verdict(store, sweep)
    versions = _versions(store, study)
    known = versions or {}
    night = Night(
        study=study,
        sweep=sweep,
        origin=read_origin(store, sweep),
        trials=tuple(trials),
        replicates=tuple(recorded_trials(store, sweep, "replicate")),
        ablation=tuple(recorded_trials(store, sweep, names.ABLATION)),
        confirmation=read_confirmation(store, sweep),
        verdict=verdict,
        champion=_champion_before(store, study, sweep, verdict, known),
        version=next((number for number, each in known.items() if _is_of(each, sweep)), None),
        serving=next((number for number, each in known.items() if registry.CHAMPION in each.aliases), None),
        is_serving_known=versions is not None,
        row_counts=read_row_counts(store, trials[0].result.run_id) if trials else {},
        findings=read_findings(store, sweep),
        mattered=read_importance(store, sweep),
        beliefs=read_beliefs(store, sweep),
        pages=find_pages(store),
        accounts=read_accounts(store, study, sweep),
    )
    before = known.get(night.champion.version) if night.champion is not None else None
    params = read_params(store, before.run_id) if before is not None and before.is_ours else {}
    best = next(iter(night.ranked), None)
    row_error = None if best is None else read_row_error(store, best.run_id)
    at_rung = objectives_at(store, night.further, night.compared_epochs)
    night = replace(night, champion_params=params, row_error=row_error, rung_objectives=at_rung)
    metrics = dict.fromkeys((sweep.metric, *CURVES))
    curves = {each.trial.number: read_curves(store, each.run_id, metrics) for each in night.learners}
    return replace(night, curves=curves, reported=_reported(store, night), answers=_finalist_answers(store, night))


def _finalist_answers(store: Store, night: Night) -> dict[int, FinalistAnswers]:
    """Return what the finalists' models answer to the held-out rows, of those that have it recorded."""
    finalists = [each.finalist for each in (night.confirmation.finalists if night.confirmation is not None else ())]
    known = {result.run_id for result in night.results}
    held = {each.trial: read_answers(store, each.run_id) for each in finalists if each.run_id in known}
    return {trial: answers for trial, answers in held.items() if answers is not None}


def _reported(store: Store, night: Night) -> dict[str, float]:
    """Return the winner's validation metrics at the epoch of its weights: those of the sealed rows and of the study."""
    objective = (night.origin.written or {}).get("objective")
    asked = objective.get("report") if isinstance(objective, Mapping) else None
    named = [name for name in asked if plain_metric(name) in OBJECTIVES] if isinstance(asked, list) else []
    sealed = night.verdict.test_metrics if night.verdict is not None else {}
    if night.winner is None:
        return {}
    curves = read_curves(
        store, night.winner.run_id, dict.fromkeys([*(f"{VALIDATION_PREFIX}{name}" for name in sealed), *named])
    )
    return {name: held.get(night.winner.best_epoch, math.nan) for name, held in curves.items() if held or name in named}


def _versions(store: Store, study: str) -> dict[int, Version] | None:
    """Return the study's registered versions, newest first; None if the registry refuses."""
    try:
        return {each.number: each for each in reversed(registry.versions(store, study))}
    except RefusedRequestError:
        return None


def _is_of(version: Version, sweep: Sweep) -> bool:
    return version.is_ours and version.tags.get(names.SWEEP) == sweep.id


def _champion_before(
    store: Store, study: str, sweep: Sweep, verdict: Verdict | None, versions: Mapping[int, Version]
) -> Champion | None:
    """Return the champion that the winner was judged against, or, before a verdict, the one that serves."""
    if verdict is not None:
        number = verdict.against
    else:
        number = next((each.number for each in versions.values() if registry.CHAMPION in each.aliases), None)
    if number is None:
        return None
    version = versions.get(number)
    if version is None:  # deleted since
        return Champion(number)
    if _is_of(version, sweep):
        return None
    origin = next((each for each in all_sweeps(store, study) if _is_of(version, each)), None)
    score = _confirmed_score(version)
    if origin is None or score is None or _scored(store, origin) != _scored(store, sweep):
        return Champion(number)
    held = read_confirmation(store, origin)
    finalists = held.finalists if held is not None else ()
    mine = [each for each in finalists if str(each.finalist.trial) == version.tags.get(names.TRIAL)]
    return Champion(number, score, mine[0].low, mine[0].high) if mine else Champion(number, score)


def _scored(store: Store, sweep: Sweep) -> object:
    results = finished_trials(store, sweep).values() if sweep.metric == "val_loss" else ()
    models, code = read_findings(store, sweep, "models"), read_metric_code(store, sweep)
    return what_is_scored(sweep.metric, sweep.data_version, list(results), models, code)


def _confirmed_score(version: Version) -> float | None:
    try:
        score = json.loads(version.tags.get(names.CONFIRMED_SCORE, "null"))
    except ValueError:  # "None" of an unconfirmed winner, or changed by hand
        return None
    return float(score) if isinstance(score, int | float) and math.isfinite(score) else None
