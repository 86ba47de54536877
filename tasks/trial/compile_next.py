"""Compile the next program of a sweep beside the trials of the present one."""

from collections.abc import Sequence

from nightune.models.networks.architectures import ARCHITECTURES
from nightune.models.program_cache import processor_count
from nightune.models.recipe.params import read_recipe
from nightune.models.recipe.recipe import Recipe
from nightune.models.user_code import is_reference
from nightune.tasks.setting import Setting
from nightune.tasks.trial.crash_log import open_crash_log
from nightune.tasks.trial.trainer import Trainer
from nightune.tuning.trial import Trial

LEAST_PROCESSORS = 2
MOST_FUNCTIONS = 4  # begun at a time: a program has one for each layout of batches


def compile_next(setting: Setting, trainer: Trainer, trials: Sequence[Trial]) -> None:
    """Trace the next functions of programs that exist and the first one of the next program, and compile them beside.

    `trials` are some of those that are trained next, in order; each is considered once. If the first one's program is
    new, it is begun in addition. Only built-in models, on two processors or more: a user's code belongs to its trial,
    which may crash the process. Models with limits are first built where the limits are asked. After a crash nothing is
    compiled ahead: one in the thread of a compilation is recorded for the trial that trains beside it, and its next
    attempt must run alone.
    """
    from nightune.models.training.compile_ahead import first_plan  # noqa: PLC0415 - Keras
    from nightune.models.training.engine import CompilesAhead  # noqa: PLC0415 - Keras

    engine, begun, limits = trainer.engine, 0, setting.study.limits
    if limits.of_model or limits.memory_gib or trainer.dataset.folds or processor_count() < LEAST_PROCESSORS:
        return
    if not isinstance(engine, CompilesAhead):
        return
    crash_log = open_crash_log(setting.store.root, setting.study.name)
    if crash_log.has_crashes():
        return
    for trial in trials:
        if trial.key in trainer.considered:
            continue
        trainer.considered.add(trial.key)
        recipe = _own_recipe(trial)
        plan = None if recipe is None else first_plan(recipe, trainer.dataset, setting.study.search.epochs)
        if recipe is None or plan is None or not engine.would_compile(recipe, plan):
            continue
        is_next_program = trial is not trials[0] and not engine.has_program(recipe)
        with crash_log.training(trial.key, trial.number):  # a crash while it is traced is this trial's
            engine.compile_ahead(recipe, plan)
        begun += 1
        if begun == MOST_FUNCTIONS or is_next_program:
            return


def _own_recipe(trial: Trial) -> Recipe | None:
    """Return the recipe of a trial without a user's code; None for any other, and for params that make no recipe."""
    try:
        recipe = read_recipe(trial.params)
    except ValueError:
        return None
    has_own = recipe.architecture not in ARCHITECTURES or any(map(is_reference, map(str, recipe.training.losses)))
    return None if has_own else recipe
