"""Promote a confirmed winner to champion, or report why not: steps are repeatable, and the alias moves last."""

import json
import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from nightune.models.errors import InputError
from nightune.models.recipe.params import read_recipe
from nightune.tasks.candidate_folder import write_candidate
from nightune.tasks.confirm_finalists import replicates_of
from nightune.tasks.judge_winner import verdict_on
from nightune.tasks.setting import Setting
from nightune.tasks.step import step
from nightune.tasks.threshold_problems import KEY as THRESHOLD_KEY
from nightune.tasks.tracking.registry import registry
from nightune.tasks.tracking.registry.description import description_of, description_of_model
from nightune.tasks.tracking.registry.registry import Version
from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.errors import StoreError
from nightune.tasks.tracking.sweeps.verdicts import read_verdict, verdict_tags
from nightune.tuning.analysis.confirmation import Confirmation
from nightune.tuning.analysis.leaderboard import leaderboard
from nightune.tuning.analysis.lineage import schedule_line
from nightune.tuning.analysis.promotion_gate import Candidate, Decision, Verdict
from nightune.tuning.errors import Problem, StudyError
from nightune.tuning.trial import TrialResult
from nightune.vocabulary import DEFAULT_THRESHOLD

logger = logging.getLogger("nightune")


@dataclass(frozen=True, slots=True)
class Request:
    """How to promote. A dry run measures, but registers nothing. Force overrides the gate and needs a reason."""

    is_dry: bool = False
    is_forced: bool = False
    because: str = ""


@dataclass(frozen=True, slots=True)
class Promotion:
    """The result of a promotion. `version` is the registered one, if any, and `alias` its alias."""

    verdict: Verdict
    version: int | None = None
    alias: str = ""
    is_dry: bool = False

    def summary(self) -> dict[str, Any]:
        """Return the object that `--json` prints."""
        return {"verdict": json.loads(self.verdict.as_json()), "version": self.version, "alias": self.alias}


@step
def promote_model(
    setting: Setting, winner: TrialResult, confirmation: Confirmation | None, request: Request
) -> Promotion:
    """Judge the winner of a sweep by its replicates, register it if it passes the gate, and move the alias last."""
    store, model = setting.store, setting.study.name
    candidate = _candidate(setting, winner, confirmation)
    champion = registry.champion(store, model)
    existing = registry.registered(store, model, candidate.run_id)
    if existing is not None:
        _refuse_other_threshold(setting, existing)
    if existing is not None and champion == existing:
        return _still_champion(setting, existing)
    head = cache(partial(_head, setting, winner))  # settled only where something is measured or registered
    verdict = verdict_on(setting, winner, candidate, champion, head)
    if existing is not None and names.ROLLED_BACK_BECAUSE in existing.tags:
        verdict = _rolled_back(verdict, existing)
    if request.is_forced:
        verdict = _forced(setting, verdict, request.because)
    logger.info("%s · trial %d of %s · %s", verdict.decision, candidate.trial, candidate.sweep, verdict.reason)
    if request.is_dry or not (verdict.is_promoted or verdict.is_close):
        return Promotion(verdict, is_dry=request.is_dry)
    version = existing or _register(setting, verdict, champion, head)
    schedule = schedule_line(winner.trial.number, winner.trial.params, winner.epochs)
    registry.describe(store, version, description_of(verdict, version.number, schedule))
    return _move_alias(setting, verdict, version, champion)


def _refuse_other_threshold(setting: Setting, version: Version) -> None:
    """Refuse to judge a version that exists by another threshold than it was registered with."""
    held = version.tags.get(names.THRESHOLD, json.dumps(DEFAULT_THRESHOLD))
    wanted = setting.study.objective.other_threshold
    if held != _written(wanted):
        problem = f"{_written(wanted)}, but version {version.number} was registered from this model with {held}"
        remedy = "set it back, or start the next sweep with --fresh"
        raise StudyError(str(setting.study.path), [Problem(THRESHOLD_KEY, f"{problem}; {remedy}")])


def _written(threshold: object) -> str:
    """Return a threshold, or those of several heads, as the tag of a version has it."""
    return json.dumps(threshold, sort_keys=True)


def _candidate(setting: Setting, winner: TrialResult, confirmation: Confirmation | None) -> Candidate:
    """Return the candidate: the replicate with the best score serves; all finite ones represent the configuration."""
    trained = replicates_of(setting, winner, setting.study.promotion.replicates)
    finite = [result for result in leaderboard(trained, setting.sweep.direction) if result.is_ranked]
    if not finite:
        problem = f"no replicate of trial {winner.trial.number} gave a finite {setting.study.objective.name}"
        raise StoreError(f"{setting.sweep.id}: {problem}; start the next sweep with --fresh")
    confirmed = None if confirmation is None or confirmation.winner is None else confirmation.winner.finalist.mean
    return Candidate(
        model=setting.study.name,
        sweep=setting.sweep.id,
        data_version=setting.sweep.data_version,
        trial=winner.trial.number,
        key=winner.trial.key,
        run_id=finite[0].run_id,
        search_score=winner.objective,
        confirmed_score=confirmed,
        siblings=tuple(result.run_id for result in finite[1:]),
    )


def _head(setting: Setting, winner: TrialResult) -> Any:
    """Settle what the outputs of the winner's model are, and its loss, as its training did."""
    from nightune.models.backend import load_keras  # noqa: PLC0415 - imports Keras
    from nightune.models.data.storage import open_dataset  # noqa: PLC0415 - imports pandas for tables

    load_keras(setting.store.compiled)
    from nightune.models.engines.fit.engine import FitEngine  # noqa: PLC0415 - Keras

    engine = FitEngine(open_dataset(setting.data.folder), setting.study.path.parent)
    try:
        return engine.head(read_recipe(winner.trial.params))
    except InputError as error:  # its file has changed since
        raise StudyError(str(setting.study.path), [Problem(error.key, error.message)]) from error


def _still_champion(setting: Setting, version: Version) -> Promotion:
    """Return the promotion of a version that is champion already: the alias was the last step.

    The stored verdict is the gate's. If it refused, a person has forced the version, or moved the alias by hand.
    """
    verdict = read_verdict(setting.store, setting.sweep)
    if verdict is None:
        raise StoreError(f"{version.model} version {version.number}: its verdict is missing from {setting.sweep.id}")
    if not verdict.is_promoted:
        because = version.tags.get(names.BECAUSE, "the alias was moved by hand")
        verdict = replace(verdict, decision=Decision.FORCED, because=because, is_close=False, advice=())
    return Promotion(verdict, version.number, registry.CHAMPION)


def _rolled_back(verdict: Verdict, version: Version) -> Verdict:
    """Refuse a version that a person has rolled back; only force promotes it again."""
    because = version.tags[names.ROLLED_BACK_BECAUSE]
    reason = f"version {version.number} was rolled back ({because}); promote it with --force --because"
    return replace(verdict, decision=Decision.REFUSED, reason=reason, is_close=False, advice=())


def _forced(setting: Setting, verdict: Verdict, because: str) -> Verdict:
    try:
        return verdict.forced(because)
    except ValueError as error:
        raise StudyError(str(setting.study.path), [Problem("promotion", str(error))]) from error


def _register(setting: Setting, verdict: Verdict, champion: Version | None, head: Callable[[], Any]) -> Version:
    from nightune.models.data.storage import open_dataset  # noqa: PLC0415 - imports pandas for tables

    candidate, threshold = verdict.candidate, setting.study.objective.other_threshold
    tags = {
        names.ANSWER: _answer(verdict),
        **verdict_tags(verdict),
        names.SWEEP: candidate.sweep,
        names.TRIAL: str(candidate.trial),
        names.TRIAL_KEY: candidate.key,
        names.DATA_VERSION: candidate.data_version,
        names.STUDY_DIGEST: setting.sweep.study_digest,
        names.SIBLINGS: json.dumps(candidate.siblings),
        names.SEARCH_SCORE: repr(candidate.search_score),
        names.CONFIRMED_SCORE: repr(candidate.confirmed_score),
        **({} if threshold == DEFAULT_THRESHOLD else {names.THRESHOLD: _written(threshold)}),
        **({} if champion is None else {names.COMPARED_WITH: str(champion.number)}),
    }
    with tempfile.TemporaryDirectory() as folder:
        written = write_candidate(setting, candidate, open_dataset(setting.data.folder), head(), Path(folder))
        return registry.register(setting.store, candidate.model, setting.sweep, candidate.run_id, written, tags)


def _move_alias(setting: Setting, verdict: Verdict, version: Version, champion: Version | None) -> Promotion:
    """Write tags and history first, then move the alias in one last call."""
    store, model = setting.store, version.model
    registry.describe_model(store, model, description_of_model(model, setting.study.question))
    registry.set_tags(store, version, {names.ANSWER: _answer(verdict)})
    if not verdict.is_promoted:
        registry.set_tags(store, version, registry.extended_history(version, "challenger", verdict.reason))
        registry.set_alias(store, model, registry.CHALLENGER, version.number)
        return Promotion(verdict, version.number, registry.CHALLENGER)
    now = registry.champion(store, model)
    if (now and now.number) != verdict.against:
        raise StoreError(f"{model}: the champion has changed since the comparison; run the same command again")
    previous = {} if champion is None or not champion.is_ours else {names.PREVIOUS_CHAMPION: str(champion.number)}
    written = registry.extended_history(version, str(verdict.decision), verdict.because or verdict.reason)
    registry.set_tags(store, version, {**verdict_tags(verdict), **previous, **written})
    registry.clear_rollback(store, version)
    if registry.CHALLENGER in version.aliases:
        registry.delete_alias(store, model, registry.CHALLENGER)
    registry.set_alias(store, model, registry.CHAMPION, version.number)
    return Promotion(verdict, version.number, registry.CHAMPION)


def _answer(verdict: Verdict) -> str:
    return f"{verdict.decision}: {verdict.reason}"[: names.TAG_LENGTH]


def best_candidate(confirmation: Confirmation | None, results: Sequence[TrialResult]) -> TrialResult | None:
    """Return the confirmed winner among the results, or the search's best if nothing was confirmed."""
    if confirmation is None:
        return next((result for result in results if result.is_ranked), None)
    if confirmation.winner is None:
        return None
    wanted = confirmation.winner.finalist.key
    return next((result for result in results if result.trial.key == wanted), None)
