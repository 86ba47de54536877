"""Trials that failed alike, grouped by their cause."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from nightune.tuning.trial import Status, TrialResult

FAILURES_ALIKE = 3  # trials, after which a sweep without any success ends
OF_ONE_TRIAL = ("TrialLimitError", "MemoryError", "took its process down")  # larger trials fail so, smaller ones do not

_NUMBER = re.compile(r"\d+(\.\d+)?(e[+-]?\d+)?")


@dataclass(frozen=True)
class FailureGroup:
    """Trials that failed, or are over a limit, with one cause; `message` and `run_id` are those of the first one."""

    message: str
    run_id: str
    trials: tuple[int, ...]
    status: Status = Status.FAILED


def failure_groups(results: Sequence[TrialResult]) -> list[FailureGroup]:
    """Group the trials that failed or are over a limit by their messages, numbers aside; the largest group first."""
    told = [each for each in results if each.status in (Status.FAILED, Status.OVER_LIMIT)]
    groups: dict[tuple[Status, str], list[TrialResult]] = {}
    for result in sorted(told, key=lambda each: each.trial.number):
        groups.setdefault((result.status, failure_signature(result.message)), []).append(result)
    return [
        FailureGroup(members[0].message, members[0].run_id, tuple(each.trial.number for each in members), status)
        for (status, _), members in sorted(groups.items(), key=lambda group: len(group[1]), reverse=True)
    ]


def common_failure(results: Sequence[TrialResult]) -> TrialResult | None:
    """Return the first of the results if there are three or more and all failed with one cause; else None.

    Trials over a limit have no common cause: it lies in their own size.
    """
    if len(results) < FAILURES_ALIKE or any(result.status is not Status.FAILED for result in results):
        return None
    first = min(results, key=lambda result: result.trial.number)
    is_alike = len({failure_signature(result.message) for result in results}) == 1
    return first if is_alike and not first.message.startswith(OF_ONE_TRIAL) else None


def failure_lines(groups: Sequence[FailureGroup], shown: int = 10) -> list[str]:
    """Say in a line per group which trials failed, or are not ranked, and why."""
    lines = []
    for group in groups:
        trials = f"trial {group.trials[0]}" if len(group.trials) == 1 else f"{len(group.trials)} trials"
        more = ", …" if len(group.trials) > shown else ""
        numbers = "" if len(group.trials) == 1 else f" ({', '.join(map(str, group.trials[:shown]))}{more})"
        ended = "failed" if group.status is Status.FAILED else "not ranked"
        lines.append(f"{trials} {ended}{numbers}: {group.message}")
    return lines


def failure_signature(message: str) -> str:
    """The message without its numbers: shapes and sizes differ from trial to trial, the cause does not."""
    return _NUMBER.sub("#", message)
