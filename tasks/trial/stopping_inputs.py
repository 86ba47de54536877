"""Provide the inputs of a trial's stopping rule: the curves of earlier trials, or a user's function."""

from functools import lru_cache

from nightune.models.recipe.recipe import Recipe
from nightune.models.techniques.stopping.state import StoppingInputs
from nightune.models.techniques.stopping.user_rules import load_stop_function
from nightune.tasks.cohorts import training_order
from nightune.tasks.tracking.store.store import Store
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tasks.tracking.trials.trials import finished_trials, read_curve
from nightune.tuning.study.study import Study
from nightune.tuning.trial import Trial


def stopping_inputs(store: Store, sweep: Sweep, study: Study, trial: Trial, recipe: Recipe) -> StoppingInputs:
    """Return the inputs of the recipe's rule; curves are read only for a rule that compares trials.

    The rule does not stop an audit.
    """
    if recipe.stopping.is_users_own:
        function = load_stop_function(recipe.stopping.rule, study.path.parent)
        return StoppingInputs(function=function, is_ignored=trial.is_audit)
    if recipe.stopping.rule == "median" and not trial.is_audit:
        return StoppingInputs(earlier_curves=_earlier_curves(store, sweep, study, trial))
    return StoppingInputs(is_ignored=trial.is_audit)


def reads_earlier_curves(trial: Trial) -> bool:
    """Return True if the trial's rule compares it with earlier trials."""
    return trial.params.get("stopping.rule") == "median" and not trial.is_audit


def _earlier_curves(store: Store, sweep: Sweep, study: Study, trial: Trial) -> list[tuple[float, ...]]:
    """Return the metric's curves of the sweep's trials before this one in the order of training.

    These depend on the sweep's trials alone, not on the moment at which they finish: a resumed sweep compares each
    trial with the same others.
    """
    place = training_order(study.path.parent)
    own = place(trial)
    before = [result for result in finished_trials(store, sweep).values() if place(result.trial) < own]
    curves = (
        _curve(store, result.run_id, study.objective.name)
        for result in sorted(before, key=lambda each: each.trial.number)
    )
    return [curve for curve in curves if curve]


@lru_cache(maxsize=4096)
def _curve(store: Store, run_id: str, metric: str) -> tuple[float, ...]:
    """Cache the curves of finished runs: they never change."""
    return tuple(read_curve(store, run_id, metric))
