"""Tell attempts at one trial apart: only the newest one may finish its run.

A worker that was cut off may still train a trial that another worker has taken over. Each attempt writes its token into
the run's tags when it takes the run, and a worker reads it again before each write that counts.
"""

import itertools
import os
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.errors import StoreError
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tasks.tracking.trials.runs import is_finished, sweep_runs
from nightune.tuning.trial import Status

_PROCESS = uuid.uuid4().hex[:12]
_numbers = itertools.count(1)


class OvertakenError(StoreError):
    """Another attempt has taken the trial's run: this one abandons it, and writes nothing more."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt at trials: those of one flow's process are numbered, so that a newer one takes runs from an older."""

    flow: str
    number: int

    @property
    def token(self) -> str:
        """The text of the run's tag."""
        return f"{self.flow}:{self.number}"


def own_attempt(number: int = 0) -> Attempt:
    """Return an attempt of this process; 0 is that of trials which it trains itself."""
    return Attempt(f"{_PROCESS}-{os.getpid()}", number)


def next_attempt() -> Attempt:
    """Return the next attempt of this process at trials that others train."""
    return own_attempt(next(_numbers))


def run_of_trial(store: Store, sweep: Sweep, key: str) -> Any | None:
    """Return the run of a trial, or of a replicate, of the sweep by its key; None without one."""
    return next(_runs_of_trial(store, sweep, key), None)


def claimable_run(store: Store, sweep: Sweep, key: str, mine: Attempt) -> Any | None:
    """Return the run of a trial for this attempt to take; OvertakenError if another one has finished or taken it."""
    run = run_of_trial(store, sweep, key)
    if run is not None:
        _refuse_other_attempts(run, mine)
    return run


def _runs_of_trial(store: Store, sweep: Sweep, key: str) -> Iterator[Any]:
    condition = f"{names.tag_equals(names.SWEEP, sweep.id)} and {names.tag_equals(names.TRIAL_KEY, key)}"
    return (run for run in sweep_runs(store, sweep, condition) if run.data.tags.get(names.KIND) != names.RETRIED)


def keep_newest_run(store: Store, sweep: Sweep, key: str, created: str, mine: Attempt) -> None:
    """Delete all runs of a trial but one, after its run `created` by this attempt: OvertakenError if it is another.

    Two attempts that hang between their search and their creation create one each, however long they hang.
    """
    others = [run for run in _runs_of_trial(store, sweep, key) if run.info.run_id != created]
    try:
        for other in others:
            _refuse_other_attempts(other, mine)
    except OvertakenError:
        with suppress(StoreError):  # the other one has deleted it
            client(store).delete_run(created)
        raise
    for other in others:
        client(store).set_tag(other.info.run_id, names.ATTEMPT_TOKEN, mine.token)
        client(store).delete_run(other.info.run_id)


def _refuse_other_attempts(run: Any, mine: Attempt) -> None:
    """Raise OvertakenError unless the run may be taken: it has ended early, or belongs to an older attempt.

    An attempt of another flow that still trains is a newer one: a flow closes the open runs of those before it.
    """
    flow, _, number = run.data.tags.get(names.ATTEMPT_TOKEN, "").rpartition(":")
    status = run.data.tags.get(names.STATUS)
    is_newer = flow == mine.flow and number.isdigit() and int(number) > mine.number
    is_anothers = flow != mine.flow and run.info.status == "RUNNING"
    if is_newer or is_anothers or (is_finished(run) and status != Status.NOT_PROMOTED):
        raise OvertakenError(_message(run.info.run_id))


def require_own(store: Store, run_id: str, mine: Attempt) -> None:
    """Raise OvertakenError if another attempt has taken the run."""
    if client(store).get_run(run_id).data.tags.get(names.ATTEMPT_TOKEN) != mine.token:
        raise OvertakenError(_message(run_id))


def _message(run_id: str) -> str:
    return (
        f"run {run_id}: another process has taken over this trial. End the processes of earlier commands, if there are "
        "some; then run the same command again"
    )
