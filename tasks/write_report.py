"""Complete a sweep with its leaderboard, and read the leaderboard of any sweep."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

from nightune.models.data.storage import preprocessing_files
from nightune.models.errors import InputError
from nightune.tasks.loss_error import record_loss_error
from nightune.tasks.reporting.leaderboard_rows import Row, believed_numbers, confirmed_numbers, why_rows
from nightune.tasks.setting import Setting
from nightune.tasks.step import step
from nightune.tasks.tracking.registry import registry
from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.errors import RefusedRequestError
from nightune.tasks.tracking.store.pages import NOT_RUNNING, Pages, find_pages
from nightune.tasks.tracking.store.records import optional_file
from nightune.tasks.tracking.store.retry import reading_once
from nightune.tasks.tracking.store.store import Store
from nightune.tasks.tracking.sweeps.beliefs import read_beliefs
from nightune.tasks.tracking.sweeps.confirmations import read_confirmation
from nightune.tasks.tracking.sweeps.failures import write_failures
from nightune.tasks.tracking.sweeps.findings import read_findings
from nightune.tasks.tracking.sweeps.importances import read_importance, write_importance
from nightune.tasks.tracking.sweeps.links import leaderboard_address, view_address
from nightune.tasks.tracking.sweeps.profiles import read_profile
from nightune.tasks.tracking.sweeps.shared_views import has_view, write_view
from nightune.tasks.tracking.sweeps.sweeps import Sweep, finish_sweep, parse_content
from nightune.tasks.tracking.trials.costs import record_costs
from nightune.tasks.tracking.trials.recorded import fold_errors, read_row_counts, recorded_trials
from nightune.tasks.tracking.trials.results import record_front, record_results
from nightune.tasks.tracking.trials.row_errors import read_row_error
from nightune.tasks.tracking.trials.rungs import rung_results
from nightune.tasks.tracking.trials.snapshots import drop_all_snapshots
from nightune.tasks.tracking.trials.trials import attach, finished_trials
from nightune.tasks.trial.crash_log import open_crash_log
from nightune.tuning.analysis.beliefs import Beliefs
from nightune.tuning.analysis.confirmation import Confirmation
from nightune.tuning.analysis.front import front, hypervolume
from nightune.tuning.analysis.importance import WhatMattered, by_importance, what_mattered
from nightune.tuning.analysis.leaderboard import leaderboard, status_counts, varying_params
from nightune.tuning.analysis.metric_values import IN_UNITS_OF_TARGET, known_metric, search_unit
from nightune.tuning.analysis.promotion_gate import Decision
from nightune.tuning.analysis.standard_errors import (
    SHARE_METRICS,
    UNKNOWN,
    StandardErrors,
    rows_of_share,
    standard_errors,
)
from nightune.tuning.study.rounds import as_settled
from nightune.tuning.trial import TrialResult
from nightune.vocabulary import listing, plain_metric


class Standing(StrEnum):
    """What the promotion gate has made of a sweep's winner."""

    OPEN = "open"  # not judged, or no longer champion
    REFUSED = "refused"
    CHAMPION = "champion"


@dataclass(frozen=True)
class SweepReport:
    """A sweep and its results, best first."""

    study: str
    sweep: Sweep
    results: tuple[TrialResult, ...]
    confirmation: Confirmation | None = None
    mattered: WhatMattered | None = None  # None until the sweep is complete
    findings: tuple[str, ...] = ()  # about the data
    model_findings: tuple[str, ...] = ()
    pages: Pages = NOT_RUNNING
    has_view: bool = False  # of its own in MLflow's pages: a complete sweep's
    standing: Standing = Standing.OPEN
    errors: StandardErrors = UNKNOWN
    beliefs: Beliefs | None = None  # of a model that proposed trials
    unit: str = ""  # of the scores, in words; empty for that of the data, and for none

    @property
    def best(self) -> TrialResult | None:
        """The best trial, or None if no trial has a finite objective."""
        first = self.results[0] if self.results else None
        return first if first is not None and first.is_ranked else None

    @property
    def winner(self) -> TrialResult | None:
        """The confirmed winner, or else the best trial of the search."""
        held = self.confirmation
        number = held.winner.finalist.trial if held is not None and held.winner is not None else None
        return next((each for each in self.results if each.is_ranked and each.trial.number == number), self.best)

    def trial(self, number: int) -> TrialResult:
        """Return the result of this trial; InputError if no finished trial has the number."""
        known = {each.trial.number: each for each in sorted(self.results, key=lambda each: each.trial.number)}
        if number not in known:
            raise InputError("trial", f"no finished trial {number} ({listing(known, 'finished')})")
        return known[number]

    @cached_property
    def front(self) -> list[int]:
        """The numbers of the trials that no other one beats in all objectives; empty with one objective."""
        further = self.sweep.further
        found = front([each for each in self.results if each.is_ranked], self.sweep.direction, further)
        return [each.trial.number for each in found] if further else []

    @cached_property
    def hypervolume(self) -> float | None:
        """The share of the range of all objectives that the front covers; None with one, and where it is too costly."""
        further, results = self.sweep.further, self.results
        return hypervolume(results, self.sweep.direction, further) if further and results else None

    @property
    def varying(self) -> list[str]:
        """Names of the params that differ between trials."""
        return varying_params(self.results)

    @property
    def by_importance(self) -> list[str]:
        """The names in `varying`, those first that caused most of the differences, then those of most trials."""
        return by_importance(self.varying, self.mattered)

    @property
    def metric_text(self) -> str:
        """The metric with the unit of the scores."""
        return f"{self.sweep.metric} in {self.unit}" if self.unit else self.sweep.metric

    @property
    def page(self) -> str:
        """The address of the leaderboard in MLflow's pages."""
        address = view_address if self.has_view else leaderboard_address
        return address(self.pages.address, self.sweep)

    def rows(self) -> list[Row]:
        """Return the leaderboard as flat rows: rank, trial, status, objective, cost, params, run."""
        varying, on_front = self.varying, set(self.front)
        why = why_rows([each.trial for each in self.results])
        numbered = enumerate(zip(self.results, why, strict=True), start=1)
        return [self._row(rank, result, varying, on_front, reason) for rank, (result, reason) in numbered]

    def summary(self, chosen: TrialResult | None = None) -> dict[str, object]:
        """Return the object that `--json` prints; `chosen` is a trial that was asked for, with all of its params."""
        counts = status_counts(self.results)
        best, rows = self.best, self.rows()
        by_number = {row["trial"]: row for row in rows}
        return {
            "sweep_id": self.sweep.id,
            "study": self.study,
            "trials": {"planned": self.sweep.planned_trials, "finished": len(self.results), **counts},
            **({"ended_by": self.sweep.ended_by} if self.sweep.ended_by else {}),
            "best": None
            if best is None
            else {
                "run_id": best.run_id,
                "trial": best.trial.number,
                "metric": self.sweep.metric,
                "objective": best.objective,
                "standard_error": self.errors.by_trial.get(best.trial.number),
                "params": best.trial.params,
            },
            **({"findings": list(self.findings)} if self.findings else {}),
            **({"model_findings": list(self.model_findings)} if self.model_findings else {}),
            "rows": rows,
            **({} if chosen is None else {"trial": {**by_number[chosen.trial.number], "params": chosen.trial.params}}),
            **({"front": self.front, "hypervolume": self.hypervolume} if self.sweep.further else {}),
            **believed_numbers(self.beliefs),
            **confirmed_numbers(self.confirmation),
            **({} if self.mattered is None else {"mattered": asdict(self.mattered)}),
        }

    def _row(self, rank: int, result: TrialResult, varying: Iterable[str], on_front: Set[int], why: Row) -> Row:
        row: Row = {
            "rank": rank if result.is_ranked else None,
            "trial": result.trial.number,
            "status": str(result.status),
            self.sweep.metric: result.objective if result.best_epoch else None,
            **{name: _finite(result.further.get(name)) for name, _ in self.sweep.further},
            **({"is_on_front": result.trial.number in on_front} if self.sweep.further else {}),
            "best_epoch": result.best_epoch,
            "epochs": result.epochs,
            "seconds": round(result.seconds, 3),
            **why,
        }
        row |= {name: result.trial.params.get(name) for name in varying}
        return row | {"run_id": result.run_id, "message": result.message}


@step
@reading_once()
def write_report(setting: Setting) -> SweepReport:
    """Write the leaderboard, attach the preprocessing to the winner's run, and mark the sweep complete.

    With folds it is not attached: the model of the winner's run was trained with that of its last fold.
    """
    write_importance(setting.store, setting.sweep, importance_of_dimensions(setting))
    report = read_report(setting.store, setting.study.name, setting.sweep)
    record_costs(setting.store, setting.sweep)
    if report.best is not None and not setting.sweep.has_folds:
        attach(setting.store, report.best.run_id, preprocessing_files(setting.data.folder), names.PREPROCESSING_FOLDER)
    if report.best is not None:
        record_loss_error(setting, report.best)
        known = (report.results, report.confirmation, report.findings)
        report = replace(report, errors=_errors(setting.store, setting.sweep, *known))
    write_failures(setting.store, setting.sweep, report.results)
    open_crash_log(setting.store.root, setting.study.name).clear()
    drop_all_snapshots(setting.store, setting.sweep)
    record_results(setting.store, setting.sweep, report.results)
    if setting.sweep.further and report.results:
        record_front(setting.store, setting.sweep, len(report.front), report.hypervolume)
    write_view(setting.store, setting.sweep, report.by_importance)
    finished = finish_sweep(setting.store, setting.sweep, as_csv(report.rows()), report.rows())
    return replace(report, sweep=finished, has_view=True)


def importance_of_dimensions(setting: Setting) -> WhatMattered:
    """Return the importance of the dimensions, from trials of equal budget: of the brackets that begin as the first."""
    study, epochs = setting.study, setting.study.brackets[0].rungs[0].epochs
    trained = as_settled(study.brackets, dict(setting.sweep.first_rungs))
    alike = [bracket for bracket in trained if bracket.rungs[0].epochs == epochs]
    numbers = {number for bracket in alike for number in range(bracket.first, bracket.first + bracket.trials)}
    results = _results_at(setting, epochs)
    comparable = [each for each in results if each.trial.number in numbers]
    return what_mattered(study.space, comparable, setting.sweep.direction, study.seed)


def _results_at(setting: Setting, epochs: int) -> Iterable[TrialResult]:
    if setting.known is None:
        return rung_results(setting.store, setting.sweep, epochs).values()
    return setting.known.results_at(epochs).values()


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
        errors=_errors(store, sweep, results, confirmation, findings),
        beliefs=read_beliefs(store, sweep),
        unit=_unit(store, sweep),
    )


def _unit(store: Store, sweep: Sweep) -> str:
    is_in_units = plain_metric(sweep.metric) in IN_UNITS_OF_TARGET  # otherwise the study need not be read
    return search_unit(sweep.metric, _content(store, sweep)) if is_in_units else ""


def _content(store: Store, sweep: Sweep) -> Mapping[str, Any]:
    return optional_file(store, sweep.run_id, names.STUDY_CONTENT, parse_content) or {}


def _errors(
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


def _finite(value: float | None) -> float | None:
    """Return None for a value that JSON does not have."""
    return value if value is not None and math.isfinite(value) else None


def as_csv(rows: Sequence[Row]) -> str:
    """Return the rows as comma-separated text with a header; cells of absent values are empty."""
    if not rows:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
