"""Trials that failed alike, grouped by their cause."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from nightune.tuning.trial import Status, TrialResult

FAILURES_ALIKE = 3  # trials, after which a sweep without any success ends
CRASHED = "crashed its process"  # begins the message of a trial whose process died, as a rule for lack of memory
OVER = "over its"  # that of one whose process was ended because the trial, over a limit, did not end by itself
OF_ONE_TRIAL = (CRASHED, OVER, "TrialLimitError", "MemoryError", "ResourceExhaustedError")  # smaller trials succeed
OUT_OF_DEVICE_MEMORY = "RESOURCE_EXHAUSTED"  # JAX' word

_NUMBER = re.compile(r"\d+(\.\d+)?(e[+-]?\d+)?")


@dataclass(frozen=True)
class FailureGroup:
    """Trials that failed, or are over a limit, with one cause; `message` and `run_id` are those of the first one."""

    message: str
    run_id: str
    trials: tuple[int, ...]
    status: Status = Status.FAILED

    @property
    def has_traceback(self) -> bool:
        """Whether the run has one: an error was raised, and its process outlived it."""
        return self.status is Status.FAILED and not self.message.startswith((CRASHED, OVER))


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

    Trials that are over a limit, or for which memory is short, have no common cause: it lies in their own size.
    """
    if len(results) < FAILURES_ALIKE or any(result.status is not Status.FAILED for result in results):
        return None
    first = min(results, key=lambda result: result.trial.number)
    is_alike = len({failure_signature(result.message) for result in results}) == 1
    is_of_one_trial = first.message.startswith(OF_ONE_TRIAL) or OUT_OF_DEVICE_MEMORY in first.message
    return first if is_alike and not is_of_one_trial else None


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
