"""Train trials on the workers of a sweep: one task run for all trials of a rung."""

from collections.abc import Sequence

from nightune.tasks.cohorts import trials_text
from nightune.tasks.setting import Setting
from nightune.tasks.step import named_step
from nightune.tuning.trial import Trial, TrialResult


@named_step(lambda given: f"train {trials_text(given['trials'])} by workers")
def train_with_workers(setting: Setting, trials: Sequence[Trial]) -> list[TrialResult]:
    """Train the trials on the setting's workers, several at a time; return their results by number."""
    assert setting.workers is not None
    return setting.workers.train(setting, trials)
