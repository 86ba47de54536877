"""What a trial's stopping rule needs from outside its training: the curves of earlier trials, a user's function."""

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
    """Return what the recipe's rule needs; nothing is read for a rule that needs nothing."""
    if recipe.stopping.is_users_own:
        return StoppingInputs(function=load_stop_function(recipe.stopping.rule, study.path.parent))
    if recipe.stopping.rule == "median":
        return StoppingInputs(earlier_curves=_earlier_curves(store, sweep, study, trial))
    return StoppingInputs()


def reads_earlier_curves(trial: Trial) -> bool:
    """True if the trial's rule compares it with those before it."""
    return trial.params.get("stopping.rule") == "median"


def _earlier_curves(store: Store, sweep: Sweep, study: Study, trial: Trial) -> list[tuple[float, ...]]:
    """The metric's curves of the sweep's trials that come before this one in the order of training.

    Which those are depends on the sweep's trials alone, not on what happens to be finished: so a sweep that was
    interrupted and gone on with compares each trial with the same others. In that order trials of one graph shape
    follow each other.
    """
    place = training_order(study.path.parent)
    own = place(trial)
    before = [result for result in finished_trials(store, sweep).values() if place(result.trial) < own]
    curves = (
        _curve(store, result.run_id, study.objective.metric)
        for result in sorted(before, key=lambda each: each.trial.number)
    )
    return [curve for curve in curves if curve]


@lru_cache(maxsize=4096)
def _curve(store: Store, run_id: str, metric: str) -> tuple[float, ...]:
    """A finished run's curve never changes."""
    return tuple(read_curve(store, run_id, metric))
