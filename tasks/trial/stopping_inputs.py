"""Provide the inputs of a trial's stopping rule: the curves of earlier trials, or a user's function."""

from functools import lru_cache

from nightune.models.recipe.recipe import Recipe
from nightune.models.techniques.stopping.state import StoppingInputs
from nightune.models.techniques.stopping.user_rules import load_stop_function
from nightune.tasks.cohorts import training_order
from nightune.tasks.setting import Setting
from nightune.tasks.tracking.store.store import Store
from nightune.tasks.tracking.trials.trials import read_curve
from nightune.tuning.trial import Trial


def stopping_inputs(setting: Setting, trial: Trial, recipe: Recipe) -> StoppingInputs:
    """Return the inputs of the recipe's rule; curves are read only for a rule that compares trials.

    The rule does not stop an audit.
    """
    if recipe.stopping.is_users_own:
        function = load_stop_function(recipe.stopping.rule, setting.study.path.parent)
        return StoppingInputs(function=function, is_ignored=trial.is_audit)
    if recipe.stopping.rule == "median" and not trial.is_audit:
        return StoppingInputs(earlier_curves=_earlier_curves(setting, trial))
    return StoppingInputs(is_ignored=trial.is_audit)


def reads_earlier_curves(trial: Trial) -> bool:
    """Return True if the trial's rule compares it with earlier trials."""
    return trial.params.get("stopping.rule") == "median" and not trial.is_audit


def _earlier_curves(setting: Setting, trial: Trial) -> list[tuple[float, ...]]:
    """Return the metric's curves of the sweep's trials before this one in the order of training.

    These depend on the sweep's trials alone, not on the moment at which they finish: a resumed sweep compares each
    trial with the same others.
    """
    place = training_order(setting.study.path.parent)
    own = place(trial)
    before = [result for result in setting.finished() if place(result.trial) < own]
    curves = (
        _curve(setting.store, result.run_id, setting.study.objective.name)
        for result in sorted(before, key=lambda each: each.trial.number)
    )
    return [curve for curve in curves if curve]


@lru_cache(maxsize=2**17)  # of all trials of a sweep: each trial reads those of all before it
def _curve(store: Store, run_id: str, metric: str) -> tuple[float, ...]:
    """Cache the curves of finished runs: they never change."""
    return tuple(read_curve(store, run_id, metric))
