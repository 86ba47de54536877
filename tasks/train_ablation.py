"""Train the configurations on the path from the study's default to the winner, each with fresh seeds.

They are runs of the kind `ablation` under the sweep's run: found by key, resumed after a kill, in no leaderboard.
"""

import logging

from nightune.tasks.confirm_finalists import refuse_changed
from nightune.tasks.propose_trials import complete_params, content_key
from nightune.tasks.reporting.night.ablation_section import FROM_DEFAULT, ablations
from nightune.tasks.reporting.night.read_night import read_night
from nightune.tasks.setting import Setting
from nightune.tasks.step import step
from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.errors import StoreError
from nightune.tasks.tracking.trials.trials import finished_trials
from nightune.tuning.analysis.confirmation import replicates
from nightune.tuning.study.sections import ConfirmationSection
from nightune.tuning.trial import Params, Status, Trial, TrialResult, trial_key

logger = logging.getLogger("nightune")

SEEDS = 3  # of each configuration, where `confirmation.replicates` is not set


@step
def missing_ablation(setting: Setting) -> list[Trial]:
    """Return the untrained trainings of the path from the default, each configuration with the study's replicates.

    The last one is the winner's: its own replicates stand for it where the sweep is confirmed. A configuration that no
    recipe allows is left out with a warning. StoreError if the sweep has no path that can be trusted, StudyError if the
    winner was trained by other code.
    """
    night = read_night(setting.store, setting.study.name, setting.sweep)
    found = next((each.path for each in ablations(night) if each.id == FROM_DEFAULT and each.path.is_trusted), None)
    if found is None or night.winner is None:
        raise StoreError(
            f"{setting.sweep.id}: there is no ablation path to train: too few trials, a surrogate that explains too "
            "little of their differences, or a winner that is the default; search further with --fresh"
        )
    refuse_changed(setting, night.winner, "--train-ablation", "its steps cannot be compared with it")
    places = [found.start, *(each.params for each in found.steps)]
    if night.confirmed is not None:
        places = places[:-1]
    wanted = [trial for number, params in enumerate(places) for trial in _trials(setting, night.winner, number, params)]
    finished = finished_trials(setting.store, setting.sweep, names.ABLATION)
    return [trial for trial in wanted if trial.key not in finished]


def _trials(setting: Setting, winner: TrialResult, number: int, point: Params) -> list[Trial]:
    """Return the trainings of one configuration; their seeds depend on the study and the configuration only."""
    try:
        params = complete_params(setting.study, dict(point))
    except ValueError as error:
        logger.warning("ablation step %d · not trained: %s", number, error)
        return []
    key = content_key(setting.study, setting.sweep.number, setting.data, params, winner.trial.seed)
    alone = TrialResult(
        Trial(winner.trial.number, params, winner.trial.seed, key), Status.COMPLETED, 0.0, 0, 0, 0, 0, 0.0
    )
    section = setting.study.confirmation or ConfirmationSection()
    return [
        Trial(each.number, each.params, each.seed, trial_key({"ablation": each.key}), each.replicate, step=number)
        for each in replicates(alone, section.replicates or SEEDS, setting.study.seed)
    ]
