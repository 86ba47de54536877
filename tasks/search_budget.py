"""Open the budget of a search that may end before its last trial, and record its end."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from time import monotonic as clock

from nightune.tasks.setting import Setting
from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.records import whole_records
from nightune.tasks.tracking.store.store import Store
from nightune.tasks.tracking.sweeps.ends import deadline, end_search, search_seconds
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tasks.tracking.trials.runs import finished_runs, read_result
from nightune.tuning.errors import Problem, StudyError
from nightune.tuning.search_budget import SearchBudget
from nightune.tuning.study.ends import total_epochs_problem, trials_since_best
from nightune.tuning.study.sections import ConfirmationSection
from nightune.tuning.study.study import Study
from nightune.tuning.trial import TrialResult

logger = logging.getLogger("nightune")


def with_budget(setting: Setting, is_night: bool = False) -> Setting:
    """Return the setting with the budget of its search, counted from what its sweep has spent; as it is without ends.

    A search that has ended stays ended. A night also trains the replicates that the gate asks for; StudyError if they
    leave no epochs for a trial.
    """
    store, sweep, study = setting.store, setting.sweep, setting.study
    if not study.search.ends:
        return setting
    until = study.search.until
    budget = SearchBudget(
        study.search,
        replicates_after(study, is_night, sweep.confirming),
        trained_here(store, sweep) if setting.known is None else setting.known.trained(),
        clock,
        local_time,
        earlier_seconds=search_seconds(store, sweep),
        deadline=deadline(store, sweep, until, local_time()) if until else None,
        ended_by=sweep.ended_by,
    )
    return replace(setting, budget=budget)


def replicates_after(study: Study, is_night: bool, recorded: tuple[int, int] | None = None) -> Callable[[int], int]:
    """Return a function from the number of trained trials to that of replicates after them: the confirmation's.

    In a night also the gate's. StudyError if their epochs, and those of one trial, are more than all may have.
    """
    if not is_night:
        section = study.confirmation
        return lambda trials: 0 if section is None else section.after(trials, recorded).trainings
    wanted = study.confirmation or ConfirmationSection()

    def count(trials: int) -> int:
        confirming = wanted.after(trials, recorded)
        confirmed = confirming.replicates if confirming.finalists else 0  # of the winner
        return confirming.trainings + max(0, study.promotion.replicates - confirmed)

    search = study.search
    if problem := total_epochs_problem(
        search.total_epochs, search.epochs, count(1), "a night's confirmation and gate train"
    ):
        raise StudyError(str(study.path), [Problem("search.total_epochs", problem)])
    return count


def trained_here(store: Store, sweep: Sweep) -> list[TrialResult]:
    """Read the results of the sweep's trials that it trained itself, not those reused from an earlier one."""
    runs = (run for run in finished_runs(store, sweep) if names.REUSED_FROM not in run.data.tags)
    return list(whole_records(runs, read_result))


def local_time() -> datetime:
    """Return the time now, in the time zone of this machine."""
    return datetime.now().astimezone()


def has_ended(setting: Setting, results: Iterable[TrialResult]) -> bool:
    """True if the budget has ended the search, or its last trials, by number, brought none that is better."""
    budget, patience = setting.budget, setting.study.search.patience
    if budget is None:
        return False
    if patience is not None and trials_since_best(results, setting.sweep.direction) >= patience:
        budget.end("patience")
    return bool(budget.ended_by)


def record_end(setting: Setting) -> Setting:
    """Record what ended the search before its last trial, if something did; return the setting with that sweep."""
    budget, sweep = setting.budget, setting.sweep
    if budget is None or not budget.ended_by:
        return replace(setting, budget=None)
    if not sweep.ended_by:
        trained = len(setting.finished())
        logger.info("the search ends by search.%s · %d trials", budget.ended_by, trained)
        asked = setting.study.search.trials
        assert asked is not None  # of each search that may end early
        sweep = end_search(setting.store, sweep, budget.ended_by, asked, trained)
    return replace(setting, sweep=sweep, budget=None)
