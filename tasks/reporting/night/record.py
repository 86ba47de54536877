"""Everything that the report of a sweep says, as one value."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from statistics import median

from nightune.tasks.reporting.night.accounts import Accounts
from nightune.tasks.reporting.night.measure import Measure, head_of, measure_of
from nightune.tasks.tracking.store.pages import Pages
from nightune.tasks.tracking.sweeps.links import run_address
from nightune.tasks.tracking.sweeps.origins import Origin
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tasks.tracking.trials.recorded import (
    RecordedTrial,
)
from nightune.tuning.analysis.beliefs import Beliefs
from nightune.tuning.analysis.confirmation import Confirmation, ConfirmedFinalist, seed_band
from nightune.tuning.analysis.effects import Effect, effects
from nightune.tuning.analysis.front import front, volumes
from nightune.tuning.analysis.held_out.summary import FinalistAnswers
from nightune.tuning.analysis.importance import WhatMattered, by_importance
from nightune.tuning.analysis.leaderboard import inherited, leaderboard, varying_params
from nightune.tuning.analysis.metric_values import (
    OF_TARGET,
    OF_UNSCALED,
    MetricValues,
    is_of_unscaled,
    is_target_scaled,
    known_metric,
)
from nightune.tuning.analysis.promotion_gate import Verdict
from nightune.tuning.analysis.standard_errors import ranking_rows
from nightune.tuning.search.search_space import SearchSpace
from nightune.tuning.study.budgets import brackets, most_that_begin_alike, without_repeats
from nightune.tuning.study.rounds import as_settled
from nightune.tuning.study.search_section import SearchSection
from nightune.tuning.study.space_content import space_of
from nightune.tuning.trial import Bracket, Status, TrialResult, Value
from nightune.vocabulary import POSITIONS, POSITIONS_SAID, VALIDATION_PREFIX, after_epochs, sign_of

BEST_CURVES = 5
EFFECTS_SEED = 0  # the same page from the same sweep
CURVES = ("loss", "val_loss", "learning_rate", "batch_size", "weight_decay", "penalty")

Curves = Mapping[str, Mapping[int, float]]  # metric → epoch → value


@dataclass(frozen=True, slots=True)
class Champion:
    """The champion before the sweep's verdict, with its confirmed score if that is comparable with this sweep's."""

    version: int
    score: float | None = None
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class Night:
    """One sweep: its trials in the order in which they ended, and what became of its winner.

    `version` is the number of the version that was registered from it, `serving` that of the study's champion now; the
    latter may be unknown.
    """

    study: str
    sweep: Sweep
    origin: Origin
    trials: tuple[RecordedTrial, ...]
    replicates: tuple[RecordedTrial, ...] = ()
    confirmation: Confirmation | None = None
    verdict: Verdict | None = None
    champion: Champion | None = None
    version: int | None = None
    serving: int | None = None
    is_serving_known: bool = True
    row_counts: Mapping[str, int] = field(default_factory=dict)
    findings: Sequence[str] = ()  # about the data
    curves: Mapping[int, Curves] = field(default_factory=dict)  # by trial, of those in `learners`
    beliefs: Beliefs | None = None  # of a model that proposed trials
    mattered: WhatMattered | None = None  # None until the sweep is complete
    reported: Mapping[str, float] = field(default_factory=dict)  # the winner's validation metrics
    pages: Pages = field(default_factory=lambda: Pages(""))
    accounts: Accounts = field(default_factory=Accounts)
    answers: Mapping[int, FinalistAnswers] = field(default_factory=dict)  # by trial, as far as they are recorded
    ablation: tuple[RecordedTrial, ...] = ()  # trainings of the path from the default to the winner
    row_error: float | None = None  # of the best trial's objective over its held-out rows, where it is recorded
    champion_params: Mapping[str, Value] = field(default_factory=dict)  # empty where they are not known
    rung_objectives: Mapping[int, float] = field(default_factory=dict)  # at `compared_epochs`, of trained `further`

    @cached_property
    def results(self) -> list[TrialResult]:
        """All results, best first, those without a rank last."""
        return leaderboard([each.result for each in self.trials], self.sweep.direction)

    @property
    def ranked(self) -> list[TrialResult]:
        """The results with a rank, best first."""
        return [result for result in self.results if result.is_ranked]

    @cached_property
    def front(self) -> list[TrialResult]:
        """The trials that no other one beats in all of several objectives, best in the first one first."""
        further = self.sweep.further
        return front(self.ranked, self.sweep.direction, further) if further else []

    @cached_property
    def volumes(self) -> list[float]:
        """The share of the range of all objectives that the front covers, after each trial; empty if too costly."""
        return volumes([each.result for each in self.trials], self.sweep.direction, self.sweep.further)

    @cached_property
    def inherited(self) -> set[int]:
        """The numbers of the trials whose best model is that of the trial that they continue."""
        return inherited(self.results)

    @property
    def full(self) -> list[TrialResult]:
        """The ranked results that used their budget; where none did, all ranked ones. Not those that are inherited."""
        own = [each for each in self.ranked if each.trial.number not in self.inherited]
        return [each for each in own if each.status is not Status.NOT_PROMOTED] or own

    @cached_property
    def median(self) -> float:
        """The median objective of the trials that used their budget."""
        return median(result.objective for result in self.full)

    @cached_property
    def measure(self) -> Measure:
        """How the objective is written and drawn."""
        scores = [result.objective for result in self.ranked]
        known, rows = self.known_metric(self.sweep.metric), None if self.has_positions else self.ranking_rows
        head = head_of(self.sweep.metric, known)
        return measure_of(known, self.sweep.direction, scores, rows, self.has_scaled_target, head)

    @property
    def has_positions(self) -> bool:
        """True if a target is a class at each position: shares may be of positions."""
        return self.task == POSITIONS or any(POSITIONS_SAID in finding for finding in self.findings)

    def known_metric(self, metric: str) -> str:
        """Return the metric of one of several heads as that of the only one; any other as it is."""
        return known_metric(metric, self.origin.content)

    @property
    def has_scaled_target(self) -> bool:
        """True if models were trained on standardized quantities, so that errors are in their unit."""
        return is_target_scaled(self.origin.content)

    @property
    def sealed(self) -> MetricValues | None:
        """The values of the study's metric on the sealed rows, if the gate measured it."""
        values = self.verdict.values if self.verdict is not None else None
        is_metric = values is not None and self.sweep.metric in (values.metric, f"{VALIDATION_PREFIX}{values.metric}")
        return values if is_metric else None

    @property
    def sealed_unit(self) -> str:
        """What tells a score on the sealed rows from those of trials on a scaled target, in words; empty for others."""
        if self.measure.unit:
            return f" {OF_TARGET}"
        return f" {OF_UNSCALED}" if is_of_unscaled(self.sweep.metric, self.origin.content) else ""

    @property
    def ranking_rows(self) -> int | None:
        """The number of rows that the objective is computed from; None where it is not recorded."""
        return ranking_rows(self.row_counts)

    @property
    def task(self) -> str:
        """The task of the data as it was read; empty where it is not recorded."""
        return "" if self.accounts.profile is None else self.accounts.profile.task

    @cached_property
    def winner(self) -> TrialResult | None:
        """The trial that was judged; else the confirmed winner; else the best of the search."""
        number = None
        if self.verdict is not None:
            number = self.verdict.candidate.trial
        elif self.confirmation is not None and self.confirmation.winner is not None:
            number = self.confirmation.winner.finalist.trial
        return next((each for each in self.ranked if each.trial.number == number), next(iter(self.ranked), None))

    @property
    def confirmed(self) -> ConfirmedFinalist | None:
        """The winner's confirmation, if its seeds are sound."""
        if self.confirmation is None or self.winner is None:
            return None
        number = self.winner.trial.number
        found = (each for each in self.confirmation.finalists if each.finalist.trial == number)
        return next((each for each in found if each.finalist.is_sound), None)

    @property
    def score(self) -> float:
        """The winner's score: the mean over fresh seeds, else that of the search; NaN without a winner."""
        if self.confirmed is not None:
            return self.confirmed.finalist.mean
        return math.nan if self.winner is None else self.winner.objective

    @cached_property
    def seed_band(self) -> float:
        """The difference that luck of the seed alone explains between trials of one seed each; NaN if unknown."""
        return math.nan if self.confirmation is None else seed_band(self.confirmation)

    @cached_property
    def varying(self) -> list[str]:
        """Names of the params that differ between trials, the most important ones first."""
        return by_importance(varying_params(self.results), self.mattered)

    @cached_property
    def space(self) -> SearchSpace | None:
        """The search space; None where the sweep does not record it."""
        return space_of(self.origin.content)

    @cached_property
    def brackets(self) -> tuple[Bracket, ...]:
        """The budget of the search; empty where the sweep does not record it."""
        if self.space is None or "search" not in self.origin.content:
            return ()
        search = SearchSection.model_validate(self.origin.content["search"])
        search = without_repeats(search, self.space) if self.sweep.is_without_repeats else search
        planned = brackets(search, self.space, self.sweep.first_round, self.sweep.earlier_lengths)
        return as_settled(planned, dict(self.sweep.first_rungs))

    @cached_property
    def _alike(self) -> tuple[int, frozenset[int]]:
        """The epochs at which trials can be compared, and their numbers; 0 where all are as they ended."""
        known = {each.trial.number for each in self.results}
        epochs, numbers = most_that_begin_alike(self.brackets, known)
        last = max((rung.epochs for bracket in self.brackets for rung in bracket.rungs), default=0)
        return (0, frozenset()) if self.sweep.is_population or epochs >= last else (epochs, numbers)

    @property
    def compared_epochs(self) -> int:
        """The epochs of the first rung of most trials, at which none of them was dropped; 0 without rungs."""
        return self._alike[0]

    @property
    def after_epochs(self) -> str:
        """` after 3 epochs`, where the trials are compared at a rung; else empty."""
        return after_epochs(self.compared_epochs)

    @property
    def further(self) -> list[TrialResult]:
        """The trials that were trained beyond the rung at which they are compared."""
        epochs, numbers = self._alike
        return [each for each in self.results if each.trial.number in numbers and each.epochs > epochs]

    @cached_property
    def compared(self) -> list[TrialResult]:
        """The ranked results that can be compared, best first: with rungs, all with their objectives at the first one.

        Other numbers of a result are those of its end. Without rungs, the results that used their budget.
        """
        epochs, numbers = self._alike
        if not epochs:
            return self.full
        there = [each for each in self.ranked if each.trial.number in numbers]
        known = self.rung_objectives
        as_of = [
            replace(each, objective=known.get(each.trial.number, math.nan)) if each.epochs > epochs else each
            for each in there
        ]
        return leaderboard([each for each in as_of if each.is_ranked], self.sweep.direction)

    @cached_property
    def compared_reach(self) -> tuple[float, float]:
        """The lowest and the highest score of the compared trials that are drawn in place."""
        return self.measure.reach([each.objective for each in self.compared]) if self.compared else (0.0, 0.0)

    @cached_property
    def effects(self) -> list[Effect]:
        """The effects of the dimensions on the compared scores as they are drawn, those that matter first."""
        if self.space is None:
            return []
        score = partial(self.measure.straight, reach=self.compared_reach)
        return effects(self.space, self.compared, score, EFFECTS_SEED)

    @property
    def learners(self) -> list[TrialResult]:
        """The trials whose curves are drawn: the winner, the best ones, and the median trial."""
        return _learners(self.full, self.winner)

    def improvement(self, score: float, other: float) -> float:
        """Return by how much a score is better than another one: positive in either direction."""
        return sign_of(self.sweep.direction) * (other - score)

    def link(self, run_id: str) -> str:
        """Return the address of a run in MLflow's pages."""
        return run_address(self.pages.address, self.sweep, run_id)


def _learners(full: list[TrialResult], winner: TrialResult | None) -> list[TrialResult]:
    best = full[:BEST_CURVES]
    if winner is not None:
        best = [winner, *(each for each in best if each.trial.number != winner.trial.number)][:BEST_CURVES]
    typical = full[len(full) // 2 : len(full) // 2 + 1]
    known = {each.trial.number for each in best}
    return [*best, *(each for each in typical if each.trial.number not in known)]
