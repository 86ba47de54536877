"""Trials that failed alike, grouped by their cause."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from nightune.tuning.trial import Status, TrialResult

_NUMBER = re.compile(r"\d+(\.\d+)?(e[+-]?\d+)?")


@dataclass(frozen=True)
class FailureGroup:
    """Trials that failed with one cause; `message` and `run_id` are those of the first one."""

    message: str
    run_id: str
    trials: tuple[int, ...]


def failure_groups(results: Sequence[TrialResult]) -> list[FailureGroup]:
    """Group the failed trials by their messages, numbers aside; the largest group first."""
    failed = sorted((each for each in results if each.status is Status.FAILED), key=lambda each: each.trial.number)
    groups: dict[str, list[TrialResult]] = {}
    for result in failed:
        groups.setdefault(failure_signature(result.message), []).append(result)
    return [
        FailureGroup(members[0].message, members[0].run_id, tuple(each.trial.number for each in members))
        for members in sorted(groups.values(), key=len, reverse=True)
    ]


def failure_signature(message: str) -> str:
    """The message without its numbers: shapes and sizes differ from trial to trial, the cause does not."""
    return _NUMBER.sub("#", message)
