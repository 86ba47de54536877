"""Complete a sweep with its leaderboard."""

from dataclasses import replace

from nightune.models.data.storage import preprocessing_files
from nightune.tasks.loss_error import record_loss_error
from nightune.tasks.reporting.leaderboard_rows import as_csv
from nightune.tasks.reporting.read_report import errors_of, read_report
from nightune.tasks.reporting.sweep_report import SweepReport
from nightune.tasks.setting import Setting
from nightune.tasks.step import step
from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.retry import reading_once
from nightune.tasks.tracking.sweeps.failures import write_failures
from nightune.tasks.tracking.sweeps.importances import write_importance
from nightune.tasks.tracking.sweeps.shared_views import write_view
from nightune.tasks.tracking.sweeps.sweeps import finish_sweep
from nightune.tasks.tracking.trials.costs import record_costs
from nightune.tasks.tracking.trials.known_trials import KnownTrials
from nightune.tasks.tracking.trials.results import record_front, record_results
from nightune.tasks.tracking.trials.snapshots import drop_all_snapshots
from nightune.tasks.tracking.trials.trials import attach
from nightune.tasks.trial.crash_log import open_crash_log
from nightune.tuning.analysis.importance import WhatMattered, what_mattered
from nightune.tuning.study.budgets import most_that_begin_alike
from nightune.tuning.study.rounds import as_settled


@step
@reading_once()
def write_report(setting: Setting) -> SweepReport:
    """Write the leaderboard, attach the preprocessing to the winner's run, and mark the sweep complete.

    With folds it is not attached: the model of the winner's run was trained with that of its last fold.
    """
    write_importance(setting.store, setting.sweep, importance_of_dimensions(setting))
    report = read_report(setting.store, setting.study.name, setting.sweep)
    record_costs(setting.store, setting.sweep)
    if report.best is not None and not setting.sweep.has_folds:
        attach(setting.store, report.best.run_id, preprocessing_files(setting.data.folder), names.PREPROCESSING_FOLDER)
    if report.best is not None:
        record_loss_error(setting, report.best)
        results = report.results, report.confirmation, report.findings
        report = replace(report, errors=errors_of(setting.store, setting.sweep, *results))
    write_failures(setting.store, setting.sweep, report.results)
    open_crash_log(setting.store.root, setting.study.name).clear()
    drop_all_snapshots(setting.store, setting.sweep)
    record_results(setting.store, setting.sweep, report.results)
    if setting.sweep.further and report.results:
        record_front(setting.store, setting.sweep, len(report.front), report.hypervolume)
    write_view(setting.store, setting.sweep, report.by_importance)
    finished = finish_sweep(setting.store, setting.sweep, as_csv(report.rows()), report.rows())
    return replace(report, sweep=finished, has_view=True)


def importance_of_dimensions(setting: Setting) -> WhatMattered:
    """Return the importance of the dimensions, from trials of equal budget: of the brackets that begin alike.

    As in the report, a trial that diverged or failed after the rung at which they are compared is left out.
    """
    study = setting.study
    known = setting.known or KnownTrials(setting.store, setting.sweep)
    ended = {each.trial.number: each.is_ranked for each in known.results()}
    epochs, numbers = most_that_begin_alike(as_settled(study.brackets, dict(setting.sweep.first_rungs)), ended)
    compared = {number for number in numbers if ended[number]}
    results = [each for each in known.results_at(epochs).values() if each.trial.number in compared]
    found = what_mattered(study.space, results, setting.sweep.direction, study.seed)
    return replace(found, epochs=epochs) if 0 < epochs < study.search.epochs else found
