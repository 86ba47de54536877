"""A sweep and its results as one value: what the leaderboard, the terminal and `--json` show."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cached_property

from nightune.models.errors import InputError
from nightune.tasks.reporting.leaderboard_rows import Row, believed_numbers, confirmed_numbers, leaderboard_rows
from nightune.tasks.tracking.store.pages import NOT_RUNNING, Pages
from nightune.tasks.tracking.sweeps.links import leaderboard_address, view_address
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tuning.analysis.beliefs import Beliefs
from nightune.tuning.analysis.confirmation import Confirmation
from nightune.tuning.analysis.front import front, hypervolume
from nightune.tuning.analysis.importance import WhatMattered, by_importance
from nightune.tuning.analysis.leaderboard import inherited, status_counts, varying_params
from nightune.tuning.analysis.standard_errors import (
    UNKNOWN,
    StandardErrors,
)
from nightune.tuning.trial import TrialResult
from nightune.vocabulary import listing


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

    @cached_property
    def inherited(self) -> set[int]:
        """The numbers of the trials whose best model is that of the trial that they continue."""
        return inherited(self.results)

    def is_alike(self, result: TrialResult) -> bool:
        """True if a trial is as good as the best one, and no continuation that got no better than its parent."""
        if self.best is None or result.trial.number in self.inherited:
            return False
        return self.errors.is_alike(result, self.best, self.sweep.direction)

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
        return leaderboard_rows(self.sweep, self.results, self.varying, set(self.front))

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
