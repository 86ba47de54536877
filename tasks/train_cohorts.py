"""Train cohorts one after the other, and end the sweep where every trial must fail."""

from collections.abc import Iterable

from nightune.tasks.cohorts import REFUSED, first_of_layouts, training_order
from nightune.tasks.setting import Setting
from nightune.tasks.tracking.store.client_process import client_process
from nightune.tasks.tracking.sweeps.ends import write_search_seconds
from nightune.tasks.tracking.sweeps.failures import write_failures
from nightune.tasks.train_cohort import train_cohort
from nightune.tasks.train_with_workers import train_with_workers
from nightune.tasks.trial.hopeless import counted, evidence, failed_message
from nightune.tuning.analysis.failures import common_failure
from nightune.tuning.errors import SweepFailedError
from nightune.tuning.trial import Trial, TrialResult

COHORTS_AHEAD = 8  # whose programs may be compiled beside a cohort


def train_cohorts(setting: Setting, cohorts: Iterable[list[Trial]]) -> list[TrialResult]:
    """Train the cohorts in order and return their results.

    SweepFailedError if the sweep's first trials, three or more, failed with one cause. Before, a trial of another graph
    key is trained where there is one: the cause may lie in what these trials share. Where the search's budget ends,
    the rest is not trained. With workers, they train all cohorts. With a writer of the setting, results that are still
    to be written have no run's id.
    """
    if setting.budget is not None and setting.budget.ended_by:
        return []
    if setting.workers is not None:
        return train_with_workers(setting, [trial for cohort in cohorts for trial in cohort])
    waiting = [list(cohort) for cohort in cohorts]
    if setting.writer is not None:
        return _train(setting, waiting)
    with client_process(setting.store.tracking_uri, sum(map(len, waiting))):
        return _train(setting, waiting)


def _train(setting: Setting, waiting: list[list[Trial]]) -> list[TrialResult]:
    ended = setting.finished() if waiting else []
    results: list[TrialResult] = []
    while waiting:
        cohort = _next(setting, waiting, [*ended, *results])
        waiting.remove(cohort)
        following = [trial for each in waiting[:COHORTS_AHEAD] for trial in first_of_layouts(each)]
        try:
            trained = train_cohort(setting, cohort, evidence([*ended, *results]), following)
        finally:
            if setting.budget is not None and setting.writer is None:
                write_search_seconds(setting.store, setting.sweep, setting.budget.seconds)
        results += trained
        if setting.budget is not None and setting.budget.ended_by:
            break
        keys = {result.trial.key for result in trained}
        if left := [trial for trial in cohort if trial.key not in keys]:
            waiting.insert(0, left)
    return results


def _next(setting: Setting, waiting: list[list[Trial]], ended: list[TrialResult]) -> list[Trial]:
    """Return the first cohort, or after failures alike the first of another graph key; SweepFailedError without one."""
    if common_failure(counted(ended)) is None:
        return waiting[0]
    if setting.writer is not None:
        setting.writer.wait()  # the runs of these trials, which the message names
        ended = setting.finished()
    failed = counted(ended)
    cause = common_failure(failed)
    if cause is None:
        return waiting[0]
    place = training_order(setting.study.path.parent)
    failed_keys = {place(result.trial).graph_key for result in failed}
    others = [cohort for cohort in waiting if place(cohort[0]).graph_key not in {*failed_keys, REFUSED}]
    if len(failed_keys) == 1 and others:
        return others[0]
    write_failures(setting.store, setting.sweep, ended)
    raise SweepFailedError(failed_message(setting.sweep.id, cause, len(failed), sum(map(len, waiting))))
