"""Summaries of results: the ranking, the counts by status, and the params that vary."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping

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


def inherited(results: Iterable[TrialResult]) -> set[int]:
    """Return the numbers of the trials whose best model is already that of another ranked trial, which they continue.

    Of those that continue a trial without a rank, such as one that diverged later, the first stands for its model.
    """
    by_number = {each.trial.number: each for each in results}
    found, known = set[int](), set[int]()
    for _, result in sorted(by_number.items()):
        if not result.is_ranked:
            continue
        source = _source(result, by_number)
        if source in known:
            found.add(result.trial.number)
        known.add(source)
    return found


def _source(result: TrialResult, by_number: Mapping[int, TrialResult]) -> int:
    """Return the number of the trial that trained the best epoch of a result."""
    trial = result.trial
    while trial.parent is not None and result.best_epoch <= trial.parent.epoch:
        if trial.parent.trial not in by_number:
            return trial.parent.trial
        trial = by_number[trial.parent.trial].trial
    return trial.number


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
