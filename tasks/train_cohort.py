"""Train a cohort: trials of one graph key. Each is written to MLflow while the next one trains."""

from collections.abc import Sequence

from nightune.tasks.cohorts import first_of_layouts, trials_text
from nightune.tasks.setting import Setting
from nightune.tasks.step import named_step
from nightune.tasks.tracking.sweeps.compilation import add_compilation
from nightune.tasks.trial.compile_next import compile_next
from nightune.tasks.trial.crash_log import open_crash_log
from nightune.tasks.trial.trainer import compilation_of, trainer_of
from nightune.tasks.trial.trial_runner import TrialRunner
from nightune.tuning.trial import Trial, TrialResult


@named_step(lambda given: f"train {trials_text(given['trials'])}")
def train_cohort(
    setting: Setting,
    trials: Sequence[Trial],
    ended: Sequence[TrialResult] = (),
    following: Sequence[Trial] = (),
) -> list[TrialResult]:
    """Train the trials in order and return their results. A failed trial is a result; a machine fault is raised.

    If all trials that ended so far, those in `ended` included, failed with one cause, the others are not trained.
    `following` are the first trials of each layout of batches in the next cohorts: what they need is compiled beside.
    """
    trainer = trainer_of(setting)
    before = compilation_of(trainer.engine)
    compile_next(setting, trainer, [*first_of_layouts(trials), *following])
    results = TrialRunner(setting, trainer, open_crash_log(setting.store.root, setting.study.name)).run(trials, ended)
    add_compilation(setting.store, setting.sweep, compilation_of(trainer.engine) - before)
    return results
