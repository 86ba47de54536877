"""Open the sweep that this execution works on, and leave it well if the execution is cut short."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from nightune.models.errors import InputError
from nightune.models.recipe.rules import notes_on
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.propose_trials import sample_recipes
from nightune.tasks.reporting.events import SweepStarted, announce_sweep, announce_trial
from nightune.tasks.setting import Setting
from nightune.tasks.step import stage
from nightune.tasks.tracking.store.errors import RefusedRequestError, StoreError
from nightune.tasks.tracking.store.retry import retry_limit
from nightune.tasks.tracking.store.store import Store
from nightune.tasks.tracking.sweeps.sweeps import Sweep, interrupt_sweep, open_sweep, record_engine
from nightune.tasks.tracking.trials.rungs import rung_results
from nightune.tasks.tracking.trials.trials import copy_as_reused, finished_trials, reconcile, reusable_trials
from nightune.tasks.trial.crash_log import attempts_of
from nightune.tuning.errors import Problem, StudyError
from nightune.tuning.study.budgets import finished_trainings, trainings
from nightune.tuning.study.study import Study
from nightune.tuning.trial import Trial, TrialResult

if TYPE_CHECKING:
    from nightune.models.engines.choice import EngineChoice

logger = logging.getLogger("nightune")

ALLOWED_ENGINE_DEATHS = 2


@stage
def start_sweep(store: Store, study: Study, data: PreparedData, request: str, fresh: bool) -> Setting:
    """Go on with the study's unfinished sweep, take its complete one, or start the next; settle who trains."""
    sweep = open_sweep(store, study, data.version, fresh, study.trial_count)
    with kept_whole(store, sweep):
        reconcile(store, sweep.experiment_id)
        announce_sweep(_started(study, sweep, list(finished_trials(store, sweep).values())))
        if not sweep.engine and not sweep.is_complete:
            choice = settle_engine(store, study, sweep.number, data, request)
            sweep = record_engine(store, sweep, choice.name, choice.reason)
            logger.info("engine %s · %s", choice.name, choice.reason)
        elif request == "fit" != sweep.engine or (request == "compiled" and sweep.engine == "fit"):
            problem = f"{request!r}: {sweep.id} was begun with {sweep.engine!r}, and a sweep keeps its engine"
            raise StudyError(str(study.path), [Problem("engine", f"{problem}; use --engine auto")])
    return Setting(store=store, sweep=sweep, study=study, data=data)


def _started(study: Study, sweep: Sweep, results: Sequence[TrialResult]) -> SweepStarted:
    return SweepStarted(
        sweep_id=sweep.id,
        trials=study.trial_count,
        finished=len(results),
        trainings=trainings(study.brackets),
        finished_trainings=finished_trainings(study.brackets, results),
        metric=sweep.metric,
        direction=sweep.direction,
    )


def settle_engine(store: Store, study: Study, sweep: int, data: PreparedData, request: str) -> "EngineChoice":
    """Choose who trains, by the trials that the sweep would draw."""
    from nightune.models.backend import load_keras  # noqa: PLC0415 - Keras, only where something is trained
    from nightune.models.data.storage import open_dataset  # noqa: PLC0415
    from nightune.models.engines.choice import EngineChoice, choose_engine  # noqa: PLC0415

    attempts = attempts_of(store.root, study.name)
    if request == "auto" and attempts.engine_deaths() >= ALLOWED_ENGINE_DEATHS:
        return EngineChoice("fit", "to choose another took the process down; fit tries nothing out")
    load_keras(store.compiled)
    recipes = sample_recipes(study, sweep)
    for note in dict.fromkeys(note for recipe in recipes for note in notes_on(recipe)):
        logger.warning("%s", note)
    try:
        with attempts.choosing_engine():
            return choose_engine(request, recipes, open_dataset(data.folder), study.path.parent)
    except InputError as error:
        raise StudyError(str(study.path), [Problem(error.key, error.message)]) from error


def already_finished(setting: Setting, trials: Sequence[Trial]) -> list[TrialResult]:
    """Read the results of those trials that need no training: done in this sweep, or earlier where reuse is on.

    Of a rung it is the results at its end, however much further the trials have been trained since.
    """
    store, sweep, study = setting.store, setting.sweep, setting.study
    finished = rung_results(store, sweep, setting.epochs)
    results = [finished[trial.key] for trial in trials if trial.key in finished]
    if not study.search.reuse:
        return results
    missing = {trial.key: trial for trial in trials if trial.key not in finished}
    for key, earlier in reusable_trials(store, sweep, list(missing)).items():
        try:
            reused = copy_as_reused(store, sweep, missing[key], earlier, setting.data)
        except RefusedRequestError as error:  # its checkpoint was pruned or deleted: train the trial again
            logger.warning("trial %d · run %s cannot be reused · %s", missing[key].number, earlier.run_id, error)
            continue
        announce_trial(reused, study.objective.metric)
        results.append(reused)
    return results


@contextmanager
def kept_whole(store: Store, sweep: Sweep) -> Iterator[None]:
    """Mark a sweep that was not complete as interrupted, to be gone on with, if the block does not come to its end."""
    try:
        yield
    except BaseException:
        if not sweep.is_complete:
            with (
                retry_limit(2.0),
                suppress(StoreError),
            ):  # stop soon; the next start closes open runs
                interrupt_sweep(store, sweep)
        raise
