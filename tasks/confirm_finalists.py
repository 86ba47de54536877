"""Confirm the best trials with replicates, trained with new seeds, and choose the winner.

Replicates are trials like others, under the run of the trial that they confirm: found by key, resumed after a kill,
trained in cohorts by the sweep's engine.
"""

import logging
import math
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from nightune.models.errors import InputError
from nightune.models.recipe.params import read_recipe
from nightune.tasks.propose_trials import content_key
from nightune.tasks.search_budget import trained_here
from nightune.tasks.setting import Setting
from nightune.tasks.step import step
from nightune.tasks.tracking.store.errors import StoreError
from nightune.tasks.tracking.sweeps.confirmations import (
    begin_confirmation,
    confirmation_rows,
    read_confirmation,
    write_confirmation,
)
from nightune.tasks.tracking.trials.checkpoints import fetch_checkpoint, why_unopened
from nightune.tasks.tracking.trials.trials import finished_trials
from nightune.tuning.analysis.confirmation import Confirmation, Finalist, claim_better, confirm, replicates
from nightune.tuning.analysis.leaderboard import inherited, leaderboard
from nightune.tuning.errors import Problem, StudyError
from nightune.tuning.study.sections import OF_MANY, ConfirmationSection, Confirming, counts_after
from nightune.tuning.trial import Status, Trial, TrialResult
from nightune.vocabulary import ARCHITECTURE

if TYPE_CHECKING:
    from nightune.models.networks.fixed_weights import FixedWeights

logger = logging.getLogger("nightune")


def rules(setting: Setting) -> Confirming:
    """Return how the sweep is confirmed: by the study's section, what its confirmation began with, and its trials."""
    section, sweep = setting.study.confirmation or ConfirmationSection(), setting.sweep
    return section.after(sweep.planned_trials, sweep.confirming)


def has_finalists(setting: Setting) -> bool:
    """True if the study confirms the best trials, and one has a finite result."""
    return rules(setting).finalists > 0 and any(result.is_ranked for result in setting.finished())


def with_rules(setting: Setting) -> Setting:
    """Return the setting with what its confirmation begins with, which is recorded once.

    A confirmation that an earlier version began continues with its five finalists and three seeds.
    """
    store, sweep = setting.store, setting.sweep
    if sweep.confirming is not None:
        return setting
    begun = read_confirmation(store, sweep) is not None or bool(finished_trials(store, sweep, "replicate"))
    wanted = OF_MANY if begun else counts_after(len(trained_here(store, sweep)))
    return replace(setting, sweep=begin_confirmation(store, sweep, *wanted))


def finalists(setting: Setting) -> list[TrialResult]:
    """Return the sweep's best ranked trials, best first, as many as the study confirms.

    Not those whose best model is that of the trial that they continue.
    """
    results = leaderboard(setting.finished(), setting.sweep.direction)
    repeated = inherited(results)
    ranked = [result for result in results if result.is_ranked and result.trial.number not in repeated]
    chosen = ranked[: rules(setting).finalists]
    for result in chosen:
        refuse_changed(setting, result)
    return chosen


def refuse_changed(
    setting: Setting, result: TrialResult, key: str = "confirmation", refused: str = "finalists cannot be confirmed"
) -> None:
    """Refuse a trial of other code or semantics: what is trained beside it must differ from it as meant only.

    `key` and `refused` are what the StudyError names, and what cannot be done.
    """
    trial = result.trial
    if (
        ARCHITECTURE in trial.params
        and content_key(setting.study, setting.sweep.number, setting.data, trial.params, trial.seed) == trial.key
    ):
        return
    problem = (
        f"trial {trial.number} of {setting.sweep.id} was trained by other code than today's (changed files of the "
        f"study, or another version of Nightune): {refused}; start the next sweep with --fresh"
    )
    raise StudyError(str(setting.study.path), [Problem(key, problem)])


def missing_replicates(setting: Setting, results: Sequence[TrialResult], count: int | None = None) -> list[Trial]:
    """Return the untrained replicates 1..count of these trials; by default the study's number of replicates."""
    wanted = rules(setting).replicates if count is None else count
    finished = finished_trials(setting.store, setting.sweep, "replicate")
    trials = [trial for result in results for trial in replicates(result, wanted, setting.study.seed)]
    return [trial for trial in trials if trial.key not in finished]


def replicates_of(setting: Setting, result: TrialResult, count: int) -> list[TrialResult]:
    """Return the finished replicates 1..count of a trial, in order."""
    finished = finished_trials(setting.store, setting.sweep, "replicate")
    return [finished[trial.key] for trial in replicates(result, count, setting.study.seed) if trial.key in finished]


@step
def confirm_finalists(setting: Setting) -> Confirmation:
    """Compare the finalists by their replicates, write the table to the sweep's run, and return the winner."""
    chosen, wanted = finalists(setting), rules(setting)
    compared = [_finalist(setting, result, replicates_of(setting, result, wanted.replicates)) for result in chosen]
    confirmation = confirm(compared, setting.sweep.direction, wanted.cost, wanted.confidence, setting.study.seed)
    claim = claim_better(confirmation, _search_scores(setting), setting.sweep.direction)
    confirmation = replace(confirmation, claim=claim)
    earlier = read_confirmation(setting.store, setting.sweep)
    write_confirmation(setting.store, setting.sweep, confirmation)
    if earlier is None or confirmation_rows(earlier) != confirmation_rows(confirmation):  # a night confirms twice
        _announce(confirmation, setting.study.objective.name)
    return confirmation


def _finalist(setting: Setting, result: TrialResult, trained: Sequence[TrialResult]) -> Finalist:
    return Finalist(
        trial=result.trial.number,
        key=result.trial.key,
        run_id=result.run_id,
        search_score=result.objective,
        scores=tuple(_scores(trained)),
        parameters=_parameters(setting, result),
        seconds=median([each.seconds for each in trained] or [result.seconds]),
        begins_alike=fixed_weights(setting, result).are_all,
    )


def fixed_weights(setting: Setting, result: TrialResult) -> "FixedWeights":
    """Return which initial weights of a trial's model do not follow the seed; none if it cannot be built any more."""
    from nightune.models.backend import load_keras  # noqa: PLC0415 - imports Keras

    load_keras(setting.store.compiled)
    from nightune.models.data.storage import open_dataset  # noqa: PLC0415
    from nightune.models.engines.keras_parts.recipe_models import build_recipe_model  # noqa: PLC0415
    from nightune.models.networks.architectures import ARCHITECTURES  # noqa: PLC0415
    from nightune.models.networks.fixed_weights import FixedWeights, find_fixed_weights  # noqa: PLC0415

    recipe = read_recipe(result.trial.params)
    if recipe.architecture in ARCHITECTURES:
        return FixedWeights()
    dataset = open_dataset(setting.data.folder)
    folder = setting.study.path.parent
    try:
        return find_fixed_weights(lambda seed: build_recipe_model(recipe, dataset, folder, seed))
    except InputError as error:  # its file has changed since
        logger.warning("trial %d · initial weights not compared: %s", result.trial.number, error.message)
        return FixedWeights()


def _search_scores(setting: Setting) -> list[float]:
    """Return the search scores of trials with the full budget; scores at a rung are not comparable with them.

    A score that a trial has from the one that it continues is no further one.
    """
    results = setting.finished()
    repeated = inherited(results)
    full = [each for each in results if each.is_ranked and each.status is not Status.NOT_PROMOTED]
    return [each.objective for each in full if each.trial.number not in repeated]


def _scores(trained: Iterable[TrialResult]) -> Iterable[float]:
    return (each.objective if each.is_ranked else float("nan") for each in trained)


def _parameters(setting: Setting, result: TrialResult) -> int:
    from nightune.models.backend import load_keras  # noqa: PLC0415 - imports Keras

    load_keras(setting.store.compiled)
    from nightune.models.training.checkpoint import parameter_count  # noqa: PLC0415 - imports Keras

    with tempfile.TemporaryDirectory() as folder:
        checkpoint = fetch_checkpoint(setting.store, result.run_id, Path(folder))
        try:
            return parameter_count(checkpoint)
        except MemoryError:
            raise
        except Exception as error:  # what a damaged file, a Lambda layer or a lost class raises is up to Keras
            problem = f"the checkpoint of trial {result.trial.number} cannot be opened ({why_unopened(error)})"
            raise StoreError(f"{setting.sweep.id}: {problem}; start the next sweep with --fresh") from error


def _announce(confirmation: Confirmation, metric: str) -> None:
    if confirmation.winner is None:
        logger.warning("confirmation · no finalist has a finite %s with every seed", metric)
        return
    finalist, chance = confirmation.winner.finalist, confirmation.winner.best_probability
    logger.info(
        "confirmed trial %d · %s %.4f over %d seeds, %.4f in the search%s",
        *(finalist.trial, metric, finalist.mean, len(finalist.scores), finalist.search_score),
        "" if math.isnan(chance) else f" · best with probability {chance:.2f}",
    )
    if confirmation.note:
        logger.warning("confirmation · %s", confirmation.note)
