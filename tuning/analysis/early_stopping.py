"""What early stopping saved, and what it cost: the account of a sweep, and the regret that its audit measures."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from nightune.tuning.analysis.leaderboard import leaderboard
from nightune.tuning.analysis.quantiles import student_quantile
from nightune.tuning.trial import Bracket, Status, TrialResult, trial_key
from nightune.vocabulary import sign_of

STOPPED = (Status.STOPPED_EARLY, Status.NOT_PROMOTED)  # by a rule, or at a rung
CONFIDENCE = 0.95
_STREAM = 8_103  # of the draw, beside those of points and trainings


@dataclass(frozen=True, slots=True)
class Saved:
    """A trial that did not use its budget: the epochs and seconds that it would have used beyond those it did."""

    result: TrialResult
    epochs: int
    seconds: float  # at the pace of its epochs; NaN if it trained none


@dataclass(frozen=True, slots=True)
class Audited:
    """A stopped trial that was trained to the end: its objective as the search saw it, and at the end.

    `full` is NaN if the training diverged or failed after the stop.
    """

    trial: int
    search: float
    full: float
    stopped_at: int  # epochs


@dataclass(frozen=True, slots=True)
class Regret:
    """What stopping cost, from the audited trials, drawn without replacement from all stopped ones.

    `missed` is the mean improvement from the score at the stop to that at the end, in the unit of the objective, 0 or
    more, and 0 for trainings that diverged later. `better` counts audited trials that ended better than the best of
    the search, and the interval is of all stopped trials that would have. Intervals are at `confidence`; NaN with a
    single trial.
    """

    audited: int
    stopped: int
    missed: float
    missed_low: float
    missed_high: float
    better: int
    better_low: int
    better_high: int
    confidence: float = CONFIDENCE


def ended_with_search(results: Iterable[TrialResult], brackets: Sequence[Bracket], direction: str) -> set[int]:
    """Return the numbers of the trials that the end of a search, not a rung, kept from the next rung.

    They are of the last bracket that began: of the best that halted at a rung, as many as the next one had to take yet.
    """
    trained = [each for each in results if each.epochs]
    last = max((each.trial.number for each in trained), default=-1)
    begun = [bracket for bracket in brackets if bracket.first <= last]
    if not begun:
        return set()
    bracket, found = max(begun, key=lambda each: each.first), set()
    held = [each for each in leaderboard(trained, direction) if each.trial.number >= bracket.first and each.is_ranked]
    for rung, following in pairwise(bracket.rungs):
        beyond = sum(each.epochs > rung.epochs for each in held)
        waiting = [each for each in held if each.status in STOPPED and each.epochs == rung.epochs]
        entrants = waiting[: max(0, following.trials - beyond)]
        found |= {each.trial.number for each in entrants if each.status is Status.NOT_PROMOTED}
    return found


def stopped(results: Iterable[TrialResult], epochs: int, ended: Collection[int] = ()) -> list[TrialResult]:
    """Return the trials that a rule or a rung ended before the budget, in epochs, by their number.

    `ended` are the numbers of those that the end of the search halted instead (`ended_with_search`).
    """
    found = (
        each for each in results if each.status in STOPPED and each.epochs < epochs and each.trial.number not in ended
    )
    return sorted(found, key=lambda each: each.trial.number)


def saved(
    results: Iterable[TrialResult], epochs: int, pace: Mapping[int, float], ended: Collection[int] = ()
) -> list[Saved]:
    """Return what each stopped trial saved; `pace` has the seconds of an epoch by trial, else its mean is taken."""
    found = []
    for each in stopped(results, epochs, ended):
        mean = each.seconds / each.epochs if each.epochs else math.nan
        left = epochs - each.epochs
        found.append(Saved(each, left, left * pace.get(each.trial.number, mean)))
    return found


def to_audit(candidates: Sequence[TrialResult], share: float, seed: Sequence[int]) -> list[TrialResult]:
    """Draw a share of the stopped trials, one at least if there is any: the same ones for the same seed, in any order.

    Each trial has a number of its own from the seed and its number, and the smallest ones are drawn: a greater share
    draws the same trials and more.
    """
    if not candidates:
        return []
    count = min(len(candidates), max(1, round(share * len(candidates))))
    draws = {
        each.trial.number: np.random.default_rng([*seed, _STREAM, each.trial.number]).random() for each in candidates
    }
    chosen = sorted(candidates, key=lambda each: (draws[each.trial.number], each.trial.number))[:count]
    return sorted(chosen, key=lambda each: each.trial.number)


def audit_key(key: str) -> str:
    """Return the key of the audit of a trial with this key."""
    return trial_key({"audit": key})


def audited_pairs(
    results: Iterable[TrialResult], audits: Iterable[TrialResult], epochs: int, ended: Collection[int] = ()
) -> list[Audited]:
    """Pair the stopped trials of the search with their audits, by key; `epochs` is the budget.

    Audits of other trials are left out: of one that was trained again by other code, or later beyond its stop.
    """
    by_key = {audit_key(each.trial.key): each for each in stopped(results, epochs, ended)}
    pairs = {each.trial.key: (by_key[each.trial.key], each) for each in audits if each.trial.key in by_key}
    return [
        Audited(before.trial.number, before.objective, after.objective if after.is_ranked else math.nan, before.epochs)
        for before, after in sorted(pairs.values(), key=lambda pair: pair[0].trial.number)
    ]


def regret_of(
    results: Sequence[TrialResult],
    audits: Iterable[TrialResult],
    epochs: int,
    direction: str,
    ended: Collection[int] = (),
) -> Regret | None:
    """Return what stopping cost in a sweep, from its trials, their audits and the budget in epochs."""
    best = next((each.objective for each in leaderboard(results, direction) if each.is_ranked), math.nan)
    pairs, candidates = audited_pairs(results, audits, epochs, ended), stopped(results, epochs, ended)
    return regret(pairs, len(candidates), best, direction)


def regret(audited: Sequence[Audited], stopped_count: int, best: float, direction: str) -> Regret | None:
    """Return what stopping cost; None without an audited trial. `best` is the best score of the search."""
    if not audited:
        return None
    sign = sign_of(direction)
    ends = np.array([sign * each.full for each in audited])  # smaller is better
    starts = np.array([sign * each.search for each in audited])
    gains = np.where(np.isfinite(ends) & np.isfinite(starts), np.maximum(0.0, starts - ends), 0.0)
    better = int(np.sum(ends < sign * best))  # False for NaN
    low, high = _mean_interval(gains, stopped_count)
    fewest, most = _count_interval(better, len(audited), stopped_count)
    return Regret(len(audited), stopped_count, float(gains.mean()), low, high, better, fewest, most)


def _mean_interval(gains: np.ndarray, population: int) -> tuple[float, float]:
    """Student's interval of the mean of all stopped trials; no wider than that of a draw of most of them."""
    count = len(gains)
    if count == population:
        return float(gains.mean()), float(gains.mean())
    if count < 2:
        return math.nan, math.nan
    error = float(gains.std(ddof=1)) / math.sqrt(count) * math.sqrt(1 - count / population)
    reach = student_quantile(count - 1, (1 + CONFIDENCE) / 2) * error
    return max(0.0, float(gains.mean()) - reach), float(gains.mean()) + reach


def _count_interval(found: int, drawn: int, population: int) -> tuple[int, int]:
    """Return how many of a population can be of a kind of which so many were drawn: exact, by both tails."""
    from scipy.stats import hypergeom  # noqa: PLC0415 - takes a moment, and few reports have an audit

    tail = (1 - CONFIDENCE) / 2
    counts = range(found, population - drawn + found + 1)
    possible = [
        each
        for each in counts
        if hypergeom.cdf(found, population, each, drawn) > tail
        and hypergeom.sf(found - 1, population, each, drawn) > tail
    ]
    return (possible[0], possible[-1]) if possible else (found, found)
