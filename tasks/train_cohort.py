"""Train a cohort: trials of one graph key, one after the other, each logged to MLflow while the next one trains.

The one place where what is tuned (`tuning`) meets how it is trained (`models`).
"""

from collections.abc import Sequence

from nightune.tasks.setting import Setting
from nightune.tasks.step import stage
from nightune.tasks.trial.crash_log import attempts_of
from nightune.tasks.trial.trainer import make_trainer
from nightune.tasks.trial.trial_runner import TrialRunner
from nightune.tuning.trial import Trial, TrialResult


@stage
def train_cohort(setting: Setting, trials: Sequence[Trial], ended: Sequence[TrialResult] = ()) -> list[TrialResult]:
    """Train the trials in order and return how each ended; a bad trial is a result, a fault of the machine raises.

    If all trials that ended so far, those in `ended` included, failed with one cause, the others are not trained.
    """
    trainer = make_trainer(setting.sweep.engine, setting.data.folder, setting.study.path.parent, setting.store.compiled)
    return TrialRunner(setting, trainer, attempts_of(setting.store.root, setting.study.name)).run(trials, ended)
