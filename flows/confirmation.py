"""The second half of a sweep: its best trials trained again with fresh seeds."""

from collections.abc import Sequence

from tasks.confirm_finalists import confirm_finalists, finalists, missing_replicates, rules
from tasks.train_cohort import Setting, cohorts, train_cohort
from tuning.confirmation import Confirmation
from tuning.trial import TrialResult


def confirm(setting: Setting) -> Confirmation | None:
    """Train the finalists' replicates that are not there yet and say who won; None where the study confirms none."""
    if rules(setting).finalists == 0:
        return None
    train_replicates(setting, finalists(setting))
    return confirm_finalists(setting)


def train_replicates(setting: Setting, results: Sequence[TrialResult], count: int | None = None) -> None:
    """Train the replicates 1..count of some trials that are not trained yet, in cohorts."""
    for cohort in cohorts(missing_replicates(setting, results, count)):
        train_cohort(setting, cohort)
