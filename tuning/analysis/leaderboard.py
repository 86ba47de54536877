"""Summaries of results: the ranking, the counts by status, and the params that vary."""

import json
from collections import Counter
from collections.abc import Iterable

from nightune.tuning.trial import Status, TrialResult
from nightune.vocabulary import sign_of


def leaderboard(results: Iterable[TrialResult], direction: str) -> list[TrialResult]:
    """Return the results, best first, ties by trial number; unranked results (NaN, failed) last, by number."""
    sign = sign_of(direction)

    def place(result: TrialResult) -> tuple[bool, float, int]:
        return (not result.is_ranked, sign * result.objective if result.is_ranked else 0.0, result.trial.number)

    return sorted(results, key=place)


def best(results: Iterable[TrialResult], direction: str) -> TrialResult | None:
    """Return the best result, or None if none is ranked."""
    first = next(iter(leaderboard(results, direction)), None)
    return first if first is not None and first.is_ranked else None


def status_counts(results: Iterable[TrialResult]) -> dict[str, int]:
    """Return the number of trials with each status, including zeros."""
    counts = Counter(result.status for result in results)
    return {status.value: counts[status] for status in Status}


def varying_params(results: Iterable[TrialResult]) -> list[str]:
    """Return the sorted names of the params that have more than one value among the trials that contain them.

    A conditional default with one value does not distinguish trials.
    """
    values: dict[str, set[str]] = {}
    for result in results:
        for name, value in result.trial.params.items():
            values.setdefault(name, set()).add(json.dumps(value))
    return sorted(name for name, different in values.items() if len(different) > 1)
