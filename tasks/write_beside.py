"""Write the trials of a search beside it, from cohort to cohort and from rung to rung.

A cohort of a rung may be one trial of a tenth of a second. If each ended with its records, a search would wait for a
record, some 30 ms, at the end of each of its cohorts.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from nightune.tasks.setting import Setting
from nightune.tasks.tracking.store.background_writer import BackgroundWriter
from nightune.tasks.tracking.store.client_process import client_process
from nightune.tasks.tracking.store.errors import StoreError
from nightune.tasks.tracking.store.retry import retry_limit
from nightune.tasks.tracking.sweeps.ends import write_search_seconds
from nightune.tuning.study.budgets import most_trainings
from nightune.tuning.study.population import POPULATION
from nightune.tuning.trial import TrialResult


@contextmanager
def written_beside(setting: Setting) -> Iterator[Setting]:
    """Give the setting of a search a writer of its trials, which has written them all when the block ends.

    Workers write theirs themselves, and generations of a population continue from runs: a cohort ends with its records.
    """
    known, study = setting.known, setting.study
    if known is None or setting.workers is not None or study.search.method == POPULATION:
        yield setting
        return
    left = most_trainings(study.search, study.brackets) - len(known.results())
    with client_process(setting.store.tracking_uri, left), BackgroundWriter[TrialResult]() as writer:
        try:
            with known.written_beside(writer.wait):
                yield replace(setting, writer=writer)
                writer.wait()
        except BaseException:
            with retry_limit(2.0), suppress(StoreError):  # stop soon, and by this error
                _write_seconds(setting)
            raise
        _write_seconds(setting)


def _write_seconds(setting: Setting) -> None:
    budget, sweep = setting.budget, setting.sweep
    if budget is not None and not (sweep.is_complete or sweep.ended_by):  # else nothing is trained
        write_search_seconds(setting.store, sweep, budget.seconds)
