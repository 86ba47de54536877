"""Choose the sweep that a command works on: an unfinished or complete one, one to extend or to repair, or the next."""

import logging

from nightune.models.training.capabilities import only_in_fit
from nightune.tasks.build_models import build_before_training
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.propose_trials import sample_recipes
from nightune.tasks.retry_failed import (
    OTHER_CODE,
    keeps_its_engine,
    retry_failed,
    trials_of_other_code,
    trials_to_retry,
)
from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.store import Store
from nightune.tasks.tracking.sweeps.ends import continue_search
from nightune.tasks.tracking.sweeps.extension import extend_sweep, sweep_of_other_length
from nightune.tasks.tracking.sweeps.sweeps import Sweep, all_sweeps, latest_sweep, open_sweep
from nightune.tasks.tracking.trials.trials import finished_trials
from nightune.tuning.errors import Problem, StudyError
from nightune.tuning.study.budgets import FIRST_ROUND, can_extend, has_first_round
from nightune.tuning.study.ends import has_room
from nightune.tuning.study.study import Study
from nightune.vocabulary import counted

logger = logging.getLogger("nightune")


def choose_sweep(
    store: Store, study: Study, data: PreparedData, request: str, fresh: bool, is_retry_requested: bool
) -> tuple[Sweep, Study, tuple[str, ...]]:
    """Return the sweep, the study as it trains it (extended sweeps have more trials), and findings on its models.

    `request` is the engine asked for. Where something is to be trained, the study's models are built first. StudyError
    leaves the store as it was.
    """
    standing, study = _standing(store, study, data, fresh)
    standing, continues = _with_room(study, standing, fresh)
    changed = [] if standing is None else _changed(store, study, standing, data)
    has_ended = standing is not None and bool(standing.ended_by) and not continues
    if standing is None or (changed and has_ended) or (standing.is_complete and (fresh or changed)):
        _say_why_next(study, standing, fresh, bool(changed))
        if standing is None:
            _say_of_earlier_default(store, study, data)
        layout = {"repeats_points": False, "first_round": FIRST_ROUND, "earlier_lengths": ()}
        study = study.model_copy(update=layout)
        findings = build_before_training(store, study, data)
        _warn_of_repeats(study)
        resumes = not (changed and has_ended)
        opened = open_sweep(store, study, data.version, True, study.trial_count, _tags(study), resumes=resumes)
        return opened, study, findings
    retried = trials_to_retry(store, study, standing, data, is_retry_requested) | dict.fromkeys(changed, OTHER_CODE)
    if retried and has_ended:
        text = "%s was ended by %s: its failed trials are not tried again; raise it, or use --fresh for the next sweep"
        logger.warning(text, standing.id, standing.ended_by)
        retried = {}
    return _open_standing(store, study, data, request, standing, retried, continues)


def _say_why_next(study: Study, standing: Sweep | None, fresh: bool, is_changed: bool) -> None:
    """Say why a new sweep begins, if that is not asked for, and if it has no other points than the last one."""
    if standing is None:
        return
    if is_changed and not fresh:
        text = "%s was trained by other code than today's (changed files of the study, or another version)"
        logger.warning(f"{text}; a new sweep begins", standing.id)
    if fresh and standing.has_all_points:
        done = "reads its results" if study.search.reuse else "trains them again with new seeds"
        text = "%s has every point of the space: the new sweep has no others and %s"
        logger.warning(f"{text} (to search further, widen a range or add options)", standing.id, done)


def _say_of_earlier_default(store: Store, study: Study, data: PreparedData) -> None:
    """Say it if the last sweep is one of the same study by the default method of earlier versions."""
    sweeps = all_sweeps(store, study.name) if study.search.is_default else []
    if not sweeps or (last := sweeps[-1]).data_version != data.version:
        return
    before = study.as_earlier
    if last.study_digest in (before.digest, before.with_trials(last.asked_trials).digest):
        text = "%s was searched by method %r, the default of earlier versions, and today's is %r: a new sweep begins"
        remedy = f"to continue or show the former one, set method = {before.search.method!r} in [search]"
        logger.warning(f"{text} ({remedy})", last.id, before.search.method, study.search.method)


def _open_standing(
    store: Store,
    study: Study,
    data: PreparedData,
    request: str,
    standing: Sweep,
    retried: dict[str, str],
    continues: bool,
) -> tuple[Sweep, Study, tuple[str, ...]]:
    """Open a sweep as `choose_sweep` does: extended, continued, or without the runs to retire, where that is asked."""
    findings: tuple[str, ...] = ()
    is_extension = standing.asked_trials < (study.search.trials or 0)
    if (is_extension or retried) and keeps_its_engine(store, standing, retried):
        refuse_other_engine(study, standing, request)  # before the sweep is changed
    if is_extension or continues or retried or not standing.is_complete:
        findings = build_before_training(store, study, data)
        _warn_of_repeats(study)
    if is_extension:
        added = study.trial_count - standing.planned_trials
        standing = extend_sweep(store, standing, study)
        logger.info("%s is extended by %s", standing.id, counted(added, "trial"))
    if continues:
        logger.info("%s, ended by %s, continues", standing.id, standing.ended_by)
        standing = continue_search(store, standing, study.trial_count)
    opened = open_sweep(store, study, data.version, False, study.trial_count)
    return retry_failed(store, study, opened, retried), study, findings


def _standing(store: Store, study: Study, data: PreparedData, fresh: bool) -> tuple[Sweep | None, Study]:
    """Return the sweep of the study, if there is one or one to extend, and the study as this sweep trains it."""
    if (same := latest_sweep(store, study, data.version)) is not None:
        return same, study.model_copy(update=same.layout)
    other = None if study.search.trials is None else sweep_of_other_length(store, study, data.version)
    if other is None or (fresh and other.is_complete):
        return None, study
    study = study.model_copy(update=other.layout)
    if study.search.trials in other.earlier_lengths:
        logger.info("%s has been extended to %d trials", other.id, other.asked_trials)
        return other, study.with_trials(other.asked_trials)
    longer = study.model_copy(update={"earlier_lengths": other.lengths})
    reason = _why_not(longer, other)
    if not reason:
        return other, longer
    numbers = (other.asked_trials, study.search.trials)
    logger.warning("%s, of %d trials, is not extended to %s: %s; a new sweep begins", other.id, *numbers, reason)
    return None, study


def _with_room(study: Study, standing: Sweep | None, fresh: bool) -> tuple[Sweep | None, bool]:
    """Return the sweep, and True if its search ended by what the study no longer says, so that it continues.

    None instead of a complete one whose winner is confirmed among its trials.
    """
    if standing is None or fresh or not _continues(study, standing):
        return standing, False
    if not standing.is_settled:
        return standing, True
    if not standing.is_complete:
        return standing, False
    text = "%s ended by %s, and its winner is confirmed among its trials; a new sweep begins"
    logger.warning(text, standing.id, standing.ended_by)
    return None, False


def _changed(store: Store, study: Study, sweep: Sweep, data: PreparedData) -> list[str]:
    return trials_of_other_code(study, sweep, data, list(finished_trials(store, sweep).values()))


def refuse_other_engine(study: Study, sweep: Sweep, request: str) -> None:
    """Raise StudyError if another engine is asked for than the sweep's."""
    if request == "fit" != sweep.engine or (request == "compiled" and sweep.engine == "fit"):
        problem = f"{request!r}: {sweep.id} was started with {sweep.engine!r}, and a sweep keeps its engine"
        raise StudyError(str(study.path), [Problem("engine", f"{problem}; use --engine auto")])


def _why_not(study: Study, sweep: Sweep) -> str:
    """Return why the sweep cannot get as many trials as the study has; empty if it can."""
    if (study.search.trials or 0) < sweep.asked_trials:
        return "a sweep is not shortened"
    if not can_extend(study.with_trials(sweep.asked_trials).brackets, study.brackets):
        return f"{study.search.method} ranks all its trials at each rung, and would have dropped others of more"
    if sweep.is_settled:
        return "its winner is confirmed among these trials"
    if sweep.ended_by and not _continues(study, sweep):
        return f"its search was ended by {sweep.ended_by}"
    if sweep.engine not in ("", "fit") and any(map(only_in_fit, sample_recipes(study, sweep.number))):
        return f"some of the trials are trained only by fit, and a sweep keeps its engine {sweep.engine}"
    return ""


def _continues(study: Study, sweep: Sweep) -> bool:
    """True if the sweep's search ended before its last trial, by what the study no longer says."""
    return bool(sweep.ended_by) and has_room(study.search.ends, sweep.ended_by)


def _tags(study: Study) -> dict[str, str]:
    """Return the tags of a new sweep about the points of its space, its first round and its folds."""
    tags = {} if study.point_count is None else {names.POINTS: str(study.point_count)}
    if has_first_round(study.search):
        tags[names.FIRST_ROUND] = str(study.first_round)
    if study.data.split.folds:
        tags[names.FOLDS] = str(study.data.split.folds)
    is_shorter = study.search.trials not in (None, study.trial_count)
    return tags | ({names.ASKED_TRIALS: str(study.search.trials)} if is_shorter else {})


def _warn_of_repeats(study: Study) -> None:
    if study.repeats:
        logger.warning("%s", study.repeats)
