"""Read the results of any sweep, complete or not, from MLflow."""

from collections.abc import Mapping, Sequence
from typing import Any

from nightune.tasks.reporting.sweep_report import Standing, SweepReport
from nightune.tasks.tracking.registry import registry
from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.errors import RefusedRequestError
from nightune.tasks.tracking.store.pages import find_pages
from nightune.tasks.tracking.store.records import optional_file
from nightune.tasks.tracking.store.store import Store
from nightune.tasks.tracking.sweeps.beliefs import read_beliefs
from nightune.tasks.tracking.sweeps.confirmations import read_confirmation
from nightune.tasks.tracking.sweeps.findings import read_findings
from nightune.tasks.tracking.sweeps.importances import read_importance
from nightune.tasks.tracking.sweeps.profiles import read_profile
from nightune.tasks.tracking.sweeps.shared_views import has_view
from nightune.tasks.tracking.sweeps.sweeps import Sweep, parse_content
from nightune.tasks.tracking.trials.recorded import fold_errors, read_row_counts, recorded_trials
from nightune.tasks.tracking.trials.row_errors import read_row_error
from nightune.tasks.tracking.trials.trials import finished_trials
from nightune.tuning.analysis.confirmation import Confirmation
from nightune.tuning.analysis.leaderboard import leaderboard
from nightune.tuning.analysis.metric_values import IN_UNITS_OF_TARGET, known_metric, search_unit
from nightune.tuning.analysis.promotion_gate import Decision
from nightune.tuning.analysis.standard_errors import (
    SHARE_METRICS,
    UNKNOWN,
    StandardErrors,
    rows_of_share,
    standard_errors,
)
from nightune.tuning.trial import TrialResult
from nightune.vocabulary import plain_metric


def read_report(store: Store, study: str, sweep: Sweep) -> SweepReport:
    """Read a sweep's finished trials from MLflow, best first."""
    results = leaderboard(finished_trials(store, sweep).values(), sweep.direction)
    confirmation, findings = read_confirmation(store, sweep), read_findings(store, sweep)
    return SweepReport(
        study=study,
        sweep=sweep,
        results=tuple(results),
        confirmation=confirmation,
        mattered=read_importance(store, sweep),
        findings=findings,
        model_findings=read_findings(store, sweep, "models"),
        pages=find_pages(store),
        has_view=has_view(store, sweep),
        standing=_standing(store, study, sweep),
        errors=errors_of(store, sweep, results, confirmation, findings),
        beliefs=read_beliefs(store, sweep),
        unit=_unit(store, sweep),
    )


def _unit(store: Store, sweep: Sweep) -> str:
    is_in_units = plain_metric(sweep.metric) in IN_UNITS_OF_TARGET  # otherwise the study need not be read
    return search_unit(sweep.metric, _content(store, sweep)) if is_in_units else ""


def _content(store: Store, sweep: Sweep) -> Mapping[str, Any]:
    return optional_file(store, sweep.run_id, names.STUDY_CONTENT, parse_content) or {}


def errors_of(
    store: Store,
    sweep: Sweep,
    results: Sequence[TrialResult],
    confirmation: Confirmation | None,
    findings: Sequence[str],
) -> StandardErrors:
    """Return the standard errors of the objectives, as far as the store has them."""
    best = next((each for each in results if each.is_ranked), None)
    if best is None:
        return UNKNOWN
    if sweep.has_folds:
        return standard_errors(results, confirmation, fold_errors(recorded_trials(store, sweep)), None)
    if plain_metric(sweep.metric) in SHARE_METRICS:  # otherwise the study need not be read
        content = _content(store, sweep)
        counts = read_row_counts(store, best.run_id)
        profile = read_profile(store, sweep)
        task, metric = "" if profile is None else profile.task, known_metric(sweep.metric, content)
        rows = rows_of_share(metric, counts, content.get("data"), findings, task)
        return standard_errors(results, confirmation, {}, rows)
    return standard_errors(results, confirmation, {}, None, read_row_error(store, best.run_id))


def _standing(store: Store, study: str, sweep: Sweep) -> Standing:
    """Return what the gate has made of the winner; a damaged registry leaves it open: promotion reports the damage."""
    if not sweep.verdict:
        return Standing.OPEN
    try:
        champion = registry.champion(store, study)
    except RefusedRequestError:
        return Standing.OPEN
    if champion is not None and champion.tags.get(names.SWEEP) == sweep.id:
        return Standing.CHAMPION
    return Standing.REFUSED if sweep.verdict == Decision.REFUSED else Standing.OPEN
