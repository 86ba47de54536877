"""Judge the winner of a sweep by the gate; the verdict is stored with its question, and no question is asked twice."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from nightune.tasks.candidate_folder import UnopenedError, candidate_contender
from nightune.tasks.confirm_finalists import fixed_weights
from nightune.tasks.measure_candidate import (
    UNOPENED,
    Asked,
    Evidence,
    champion_contender,
    does_champion_open,
    measure,
)
from nightune.tasks.metric_problems import own_metric
from nightune.tasks.opened_alone import ALONE, opens_alone
from nightune.tasks.setting import Setting
from nightune.tasks.tracking.registry.registry import Version
from nightune.tasks.tracking.sweeps.verdicts import read_verdict, record_test_read, test_reads, write_verdict
from nightune.tuning.analysis.advice import next_steps
from nightune.tuning.analysis.metric_values import OF_UNSCALED, is_of_unscaled
from nightune.tuning.analysis.promotion_gate import Candidate, Guard, Rules, Verdict, decide
from nightune.tuning.trial import TrialResult, trial_key
from nightune.vocabulary import DEFAULT_THRESHOLD


def verdict_on(
    setting: Setting, winner: TrialResult, candidate: Candidate, champion: Version | None, head: Callable[[], Any]
) -> Verdict:
    """Return the stored verdict on the same question, or a new one: each question reads the test split once."""
    rules, threshold = setting.study.promotion, setting.study.objective.other_threshold
    judged = {
        "candidate": [candidate.key, candidate.run_id, *candidate.siblings],
        "champion": None if champion is None else champion.number,
        "rules": rules.model_dump(mode="json"),
        **({"limits": limits} if (limits := setting.study.limits.of_model) else {}),
        **({} if threshold == DEFAULT_THRESHOLD else {"threshold": threshold}),
    }
    question = trial_key(judged)
    verdict = read_verdict(setting.store, setting.sweep, question)
    if verdict is None or _is_outdated(setting, verdict, champion):
        verdict = _judge(setting, candidate, champion, head())
        verdict = replace(verdict, notes=(*verdict.notes, *_notes_on_start(setting, winner)))
        write_verdict(setting.store, setting.sweep, verdict, question)
    return verdict


def _is_outdated(setting: Setting, verdict: Verdict, champion: Version | None) -> bool:
    """True if a version could not be opened, which may have another reason than the version, or been repaired."""
    failed = [guard for guard in verdict.guards if not guard.passed]
    if any(guard.name == ALONE for guard in failed):
        return True
    is_unopened = any(guard.said.startswith(UNOPENED) for guard in failed)
    return is_unopened and champion is not None and does_champion_open(setting.store, champion)


def _notes_on_start(setting: Setting, winner: TrialResult) -> list[str]:
    fixed = fixed_weights(setting, winner)
    if not fixed.layers:
        return []
    return [
        f"initial weights of {fixed.said} are set by the model function and do not follow the seed: the interval does "
        "not include their variance"
    ]


def _judge(setting: Setting, candidate: Candidate, champion: Version | None, head: Any) -> Verdict:
    from nightune.models.data.storage import open_dataset  # noqa: PLC0415 - imports pandas for tables

    study, rules = setting.study, setting.study.promotion
    dataset = open_dataset(setting.data.folder)
    evidence = _evidence(setting, candidate, champion, head, dataset)
    guards = (_data_guard(setting, dataset.version), *evidence.guards)
    is_unscaled = is_of_unscaled(study.objective.name, study.content)
    metric = f"{study.objective.name} {OF_UNSCALED}" if is_unscaled else study.objective.name
    limits = Rules(rules.minimum_gain, rules.challenger_margin, metric)
    compared = evidence.gain, evidence.baseline, guards, limits, champion is not None
    decision, reason, is_close = decide(*compared)
    return Verdict(
        candidate=candidate,
        decision=decision,
        reason=reason,
        measure=evidence.measure,
        minimum_gain=rules.minimum_gain,
        against=None if champion is None else champion.number,
        gain=evidence.gain,
        baseline=evidence.baseline,
        guards=guards,
        is_close=is_close,
        test_reads=test_reads(setting.store, setting.sweep),
        test_metrics=evidence.metrics,
        notes=(*evidence.notes, *(f"data: {finding}" for finding in setting.data.findings)),
        values=evidence.values and replace(evidence.values, is_unscaled=is_unscaled),
        advice=next_steps(*compared),
    )


def _evidence(setting: Setting, candidate: Candidate, champion: Version | None, head: Any, dataset: Any) -> Evidence:
    """Measure candidate and champion; what is known about a candidate that cannot be opened."""
    opponent = "no champion" if champion is None else f"champion version {champion.number}"
    said = f"gate: trial {candidate.trial} against {opponent}"
    with tempfile.TemporaryDirectory() as folder:
        try:
            contender = candidate_contender(setting, candidate, dataset, head, Path(folder))
        except UnopenedError as error:
            return _unopened(setting, dataset, head, error)
        place = Path(folder) / "champion"
        return measure(
            dataset,
            _asked(setting, head),
            setting.study.promotion,
            candidate=contender,
            champion=None if champion is None else champion_contender(setting.store, champion, place),
            record=partial(record_test_read, setting.store, setting.sweep, said),
            alone=partial(opens_alone, setting.study, dataset),
        )


def _asked(setting: Setting, head: Any) -> Asked:
    study = setting.study
    return Asked(study.objective.name, head, own_metric(study), study.limits, study.objective.report)


def _unopened(setting: Setting, dataset: Any, head: Any, error: UnopenedError) -> Evidence:
    """Return what is known about a candidate that cannot be opened; the test split is not read for it."""
    from nightune.models.networks.joint_measures import measure_of_objective  # noqa: PLC0415 - Keras

    said = f"the winner cannot be opened ({error}); train it again: start the next sweep with --fresh"
    measure = measure_of_objective(setting.study.objective.name, dataset, head)
    return Evidence(str(measure), None, None, (Guard(ALONE, False, said, is_vital=True),), {}, ())


def _data_guard(setting: Setting, version: str) -> Guard:
    trained_on = setting.sweep.data_version
    is_same = version == trained_on
    text = f"data version {version}" if is_same else f"prepared data is {version}, but the sweep's is {trained_on}"
    return Guard("data version", is_same, text, is_vital=True)
