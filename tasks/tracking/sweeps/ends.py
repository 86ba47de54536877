"""Record on a sweep's run what its search has spent, and what ended it before its last trial."""

from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.entities import run_tags
from nightune.tasks.tracking.store.records import number_of_tag
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep, SweepStatus
from nightune.tuning.study.ends import next_time


def deadline(store: Store, sweep: Sweep, time: str, now: datetime) -> datetime:
    """Return the first moment of this time of day after the sweep's start, which is recorded when it is first asked.

    Another time of day than that of the record is one from now on.
    """
    found = next_time(time, now)
    with suppress(ValueError):  # no tag, or changed by hand
        recorded = datetime.fromisoformat(_tags(store, sweep).get(names.DEADLINE, ""))
        if (recorded.hour, recorded.minute) == (found.hour, found.minute):
            return recorded
    client(store).set_tag(sweep.run_id, names.DEADLINE, found.isoformat(timespec="seconds"))
    return found


def search_seconds(store: Store, sweep: Sweep) -> float:
    """Return the seconds that the search has taken in earlier processes, as last recorded; 0 if nothing was."""
    return number_of_tag(_tags(store, sweep).get(names.SEARCH_SECONDS, "0"))


def write_search_seconds(store: Store, sweep: Sweep, seconds: float) -> None:
    """Record the seconds of all processes so far."""
    client(store).set_tag(sweep.run_id, names.SEARCH_SECONDS, f"{seconds:.1f}")


def end_search(store: Store, sweep: Sweep, ended_by: str, asked_trials: int, trials: int) -> Sweep:
    """Record that the search has ended with these trials, of those that the study asks for."""
    tags = {
        names.ENDED_BY: ended_by,
        names.ASKED_TRIALS: str(asked_trials),
        names.PLANNED_TRIALS: str(trials),
    }
    client(store).log_batch(sweep.run_id, tags=run_tags(tags))
    return replace(sweep, ended_by=ended_by, asked_trials=asked_trials, planned_trials=trials)


def continue_search(store: Store, sweep: Sweep, trials: int) -> Sweep:
    """Plan this number of trials again for a search that had ended before, and mark its sweep as running."""
    written, before = {names.PLANNED_TRIALS: str(trials), names.STATUS: str(SweepStatus.RUNNING)}, _tags(store, sweep)
    client(store).log_batch(sweep.run_id, tags=run_tags(written))
    for name in (names.ENDED_BY, names.DEADLINE):
        if name in before:
            client(store).delete_tag(sweep.run_id, name)
    client(store).update_run(sweep.run_id, status="RUNNING")
    return replace(sweep, ended_by="", planned_trials=trials, status=SweepStatus.RUNNING)


def _tags(store: Store, sweep: Sweep) -> dict[str, str]:
    return dict(client(store).get_run(sweep.run_id).data.tags)
