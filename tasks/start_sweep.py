"""Open the sweep to work on, choose its engine, and mark it as interrupted if the work ends early."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from nightune.models.errors import InputError
from nightune.models.recipe.rules import notes_on
from nightune.models.training.model_key import code_of
from nightune.tasks.choose_sweep import choose_sweep, refuse_other_engine
from nightune.tasks.first_points import portfolio_start
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.propose_trials import metric_digest, sample_recipes
from nightune.tasks.reporting.data_record import record_data
from nightune.tasks.reporting.events import SweepStarted, announce_sweep, announce_trial
from nightune.tasks.search_budget import local_time
from nightune.tasks.setting import Setting
from nightune.tasks.step import step
from nightune.tasks.tracking.store.engine_checks import check_key, keep_agreement, read_agreement
from nightune.tasks.tracking.store.errors import RefusedRequestError, StoreError
from nightune.tasks.tracking.store.retry import retry_limit
from nightune.tasks.tracking.store.store import Store
from nightune.tasks.tracking.sweeps.engines import record_engine
from nightune.tasks.tracking.sweeps.findings import write_findings
from nightune.tasks.tracking.sweeps.metric_code import write_metric_code
from nightune.tasks.tracking.sweeps.sweeps import Sweep, interrupt_sweep
from nightune.tasks.tracking.trials.known_trials import KnownTrials
from nightune.tasks.tracking.trials.rungs import rung_results
from nightune.tasks.tracking.trials.trials import copy_as_reused, reconcile, reusable_trials
from nightune.tasks.trial.crash_log import open_crash_log
from nightune.tasks.trial.interrupts import interrupts_raised
from nightune.tasks.trial.threads import settle_threads
from nightune.tasks.trial.trainer import accumulates_blocks, make_trainer
from nightune.tuning.errors import Problem, StudyError
from nightune.tuning.study.budgets import admitted_trials, finished_trainings, planned_epochs, trainings
from nightune.tuning.study.ends import seconds_to_end
from nightune.tuning.study.rounds import as_settled, is_expected
from nightune.tuning.study.study import Study
from nightune.tuning.trial import Trial, TrialResult

if TYPE_CHECKING:
    from nightune.models.engines.choice import EngineChoice
    from nightune.models.recipe.recipe import Recipe
    from nightune.models.training.engine import Engine

logger = logging.getLogger("nightune")

MAX_ENGINE_CRASHES = 2


@step
def start_sweep(
    store: Store, study: Study, data: PreparedData, request: str, fresh: bool, retry: bool = False
) -> Setting:
    """Resume the study's unfinished sweep, open its complete one, or start the next; choose the engine."""
    settle_threads(study, data, request)
    sweep, study, findings = choose_sweep(store, study, data, request, fresh, retry)
    with mark_interrupted_on_error(store, sweep):
        reconcile(store, sweep.experiment_id)
        if not sweep.is_complete:
            write_findings(store, sweep, data.findings, findings)
            write_metric_code(store, sweep, metric_digest(study))
            record_data(store, study, sweep, data)
        known = KnownTrials(store, sweep)
        announce_sweep(_started(study, sweep, known.results()))
        if not sweep.engine and not sweep.is_complete:
            logger.info("choosing the engine …" if request == "auto" else "checking the engine …")
            choice = select_engine(store, study, sweep.number, data, request)
            accumulates = accumulates_blocks(choice.name, data, study)
            sweep = record_engine(store, sweep, choice.name, choice.reason, accumulates)
            logger.info("engine %s · %s", choice.name, choice.reason)
        else:
            refuse_other_engine(study, sweep, request)
    return Setting(store=store, sweep=sweep, study=study, data=data, known=known)


def _started(study: Study, sweep: Sweep, results: Sequence[TrialResult]) -> SweepStarted:
    brackets = as_settled(study.brackets, dict(sweep.first_rungs))
    return SweepStarted(
        sweep_id=sweep.id,
        trials=study.trial_count,
        finished=len(results),
        trainings=trainings(brackets),
        finished_trainings=finished_trainings(brackets, results),
        metric=sweep.metric,
        direction=sweep.direction,
        ends=() if sweep.is_complete else study.search.ends_in_words,
    )


def select_engine(store: Store, study: Study, sweep: int, data: PreparedData, request: str) -> "EngineChoice":
    """Choose the engine by the trials that the sweep would draw."""
    from nightune.models.backend import load_keras  # noqa: PLC0415 - Keras, only if something is trained
    from nightune.models.data.storage import open_dataset  # noqa: PLC0415
    from nightune.models.engines.check_setting import check_setting  # noqa: PLC0415
    from nightune.models.engines.choice import EngineChoice, choose_engine  # noqa: PLC0415
    from nightune.models.engines.costs import PlannedWork  # noqa: PLC0415

    crash_log = open_crash_log(store.root, study.name)
    if request == "auto" and crash_log.engine_crashes() >= MAX_ENGINE_CRASHES:
        return EngineChoice("fit", "choosing an engine by trial steps has crashed the process; fit requires none")
    load_keras(store.compiled)
    dataset, folder = open_dataset(data.folder), study.path.parent

    def trained_on(name: str) -> "Engine":
        return make_trainer(name, data, study, store.compiled, accumulates_blocks(name, data, study)).engine

    started = portfolio_start(study, data.task, sweep)
    recipes = sample_recipes(study, sweep, first=[] if started is None else started.points)
    for note in dict.fromkeys(note for recipe in recipes for note in notes_on(recipe)):
        logger.warning("%s", note)
    try:
        with interrupts_raised(), crash_log.choosing_engine():
            make = None if dataset.is_on_disk else trained_on
            work = PlannedWork(*planned_work(study, local_time()))
            key = check_key(_question(study, data, recipes, request) | check_setting())
            known = read_agreement(store.compiled, key)
            choice = choose_engine(request, recipes, dataset, folder, make, work, known)
            if choice.agreement and not known:
                keep_agreement(store.compiled, key, choice.agreement)
            return choice
    except InputError as error:
        raise StudyError(str(study.path), [Problem(error.key, error.message)]) from error


def planned_work(study: Study, now: datetime) -> tuple[int, int, int, float]:
    """Return what a sweep that begins now has at most: trials, epochs, trials proposed by what is expected, seconds."""
    search, brackets = study.search, study.brackets
    trials = admitted_trials(search, brackets)
    within = ((each, max(0, trials - each.first)) for each in brackets if is_expected(search, each))
    proposed = sum(min(each.trials, room) for each, room in within)
    return trials, planned_epochs(search, brackets), proposed, seconds_to_end(search.ends, now)


def _question(study: Study, data: PreparedData, recipes: Sequence["Recipe"], request: str) -> dict[str, Any]:
    """Return what is compared in a check, of any sweep of the study: not the points that a sweep draws.

    The ends of its search decide whether programs pay for themselves.
    """
    code = {code_of(recipe, study.path.parent) for recipe in recipes} | {metric_digest(study)}
    asked = {"study": study.content, "data": data.version, "code": sorted(code), "request": request}
    return {**asked, "ends": study.search.ends} if study.search.ends else asked


def already_finished(setting: Setting, trials: Sequence[Trial]) -> list[TrialResult]:
    """Return the results of the trials that need no training: those of this sweep, and with reuse of earlier ones.

    For a rung they are the results at its end, even if the trials have been trained further since. A search that has
    ended copies none of an earlier sweep.
    """
    store, sweep, study = setting.store, setting.sweep, setting.study
    finished = _results_at(setting, trials)
    results = [finished[trial.key] for trial in trials if trial.key in finished]
    if not study.search.reuse or (setting.budget is not None and setting.budget.ended_by):
        return results
    missing = {trial.key: trial for trial in trials if trial.key not in finished}
    known, keys = setting.known, list(missing)
    found = reusable_trials(store, sweep, keys) if known is None else known.reusable(keys)
    for key, earlier in found.items():
        try:
            reused = copy_as_reused(store, sweep, missing[key], earlier, setting.data)
        except RefusedRequestError as error:  # its checkpoint was pruned or deleted: train the trial again
            logger.warning("trial %d · run %s cannot be reused · %s", missing[key].number, earlier.run_id, error)
            continue
        announce_trial(reused, study.objective.name)
        results.append(reused)
        if known is not None:
            known.add(reused)
    return results


def _results_at(setting: Setting, trials: Sequence[Trial]) -> dict[str, TrialResult]:
    if setting.known is None:
        return rung_results(setting.store, setting.sweep, setting.epochs)
    return setting.known.results_at(setting.epochs, [trial.key for trial in trials])


@contextmanager
def mark_interrupted_on_error(store: Store, sweep: Sweep) -> Iterator[None]:
    """Mark an incomplete sweep as interrupted, so that it can be resumed, if the block raises."""
    try:
        yield
    except BaseException:
        if not sweep.is_complete:
            with retry_limit(2.0), suppress(StoreError):  # stop soon; the next start closes open runs
                interrupt_sweep(store, sweep)
        raise
