"""What a set of results says: who is best, how the trials ended, and in what they differ."""

import json
from collections import Counter
from collections.abc import Iterable

from nightune.tuning.trial import Status, TrialResult
from nightune.vocabulary import sign_of


def leaderboard(results: Iterable[TrialResult], direction: str) -> list[TrialResult]:
    """Return the results best first, ties by trial number; those without a rank (NaN, failed) last, by number."""
    sign = sign_of(direction)

    def place(result: TrialResult) -> tuple[bool, float, int]:
        return (not result.is_ranked, sign * result.objective if result.is_ranked else 0.0, result.trial.number)

    return sorted(results, key=place)


def best(results: Iterable[TrialResult], direction: str) -> TrialResult | None:
    """Return the winner, or None where no result has a rank."""
    first = next(iter(leaderboard(results, direction)), None)
    return first if first is not None and first.is_ranked else None


def status_counts(results: Iterable[TrialResult]) -> dict[str, int]:
    """Return how many trials ended in which way, every status named, zeros included."""
    counts = Counter(result.status for result in results)
    return {status.value: counts[status] for status in Status}


def varying_params(results: Iterable[TrialResult]) -> list[str]:
    """Return the names of the params with more than one value among the trials that have them, sorted.

    A default that counts in some trials only, and is the same in all of these, tells no trials apart.
    """
    values: dict[str, set[str]] = {}
    for result in results:
        for name, value in result.trial.params.items():
            values.setdefault(name, set()).add(json.dumps(value))
    return sorted(name for name, different in values.items() if len(different) > 1)
