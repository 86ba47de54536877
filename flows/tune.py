"""Run one sweep of a study, from its file to the leaderboard: a Prefect flow."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from prefect import flow

from nightune.flows.runtime.environment import store_root, tracking_uri
from nightune.flows.runtime.task_run_records import wait_until_recorded
from nightune.models.kept_code import code_kept
from nightune.phases import AUDIT, CONFIRMATION, SEARCH, stage
from nightune.tasks.audit_stopping import missing_audits, record_audit
from nightune.tasks.cohorts import cohorts
from nightune.tasks.confirm_finalists import confirm_finalists, finalists, missing_replicates, rules
from nightune.tasks.load_study import load_study
from nightune.tasks.prepare_data import prepare_data
from nightune.tasks.propose_trials import propose_trials
from nightune.tasks.reporting.edited_code import edits_reported
from nightune.tasks.reporting.events import announce_round, announce_rung
from nightune.tasks.reporting.ledger_keeper import command_clock, ledger_kept
from nightune.tasks.reporting.sweep_log import kept_messages, sweep_log
from nightune.tasks.setting import Setting
from nightune.tasks.start_sweep import already_finished, mark_interrupted_on_error, start_sweep
from nightune.tasks.tracking.store.autologging import without_autologging
from nightune.tasks.tracking.store.lock import study_lock
from nightune.tasks.tracking.store.store import open_store
from nightune.tasks.tracking.sweeps.proposals import read_proposals, write_proposals
from nightune.tasks.train_cohort import train_cohort
from nightune.tasks.train_cohorts import train_cohorts
from nightune.tasks.write_report import SweepReport, write_report
from nightune.tuning.analysis.confirmation import Confirmation
from nightune.tuning.search.observations import Observation, observed
from nightune.tuning.study.budgets import survivors
from nightune.tuning.study.rounds import is_proposed
from nightune.tuning.study.sections import MODEL_METHODS
from nightune.tuning.trial import Bracket, Trial, TrialResult


@flow(name="tune", flow_run_name="tune {study_file.stem}")
def tune(
    study_file: Path,
    trials: int | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    engine: str = "auto",
    fresh: bool = False,
    retry_failed: bool = False,
) -> SweepReport:
    """Tune the study in a file: resume its unfinished sweep, return its complete one, or start the next."""
    with command_clock(), code_kept():
        study = load_study(study_file, trials=trials, epochs=epochs, seed=seed)
        store = open_store(store_root(), tracking_uri())
        with study_lock(store, study.name), without_autologging():
            data = prepare_data(study, store.root)
            with kept_messages() as earlier:
                setting = start_sweep(store, study, data, engine, fresh, retry_failed)
            with (
                ledger_kept(setting, "tune"),
                sweep_log(setting, earlier),
                mark_interrupted_on_error(store, setting.sweep),
                edits_reported(),
            ):
                with stage(SEARCH):
                    search(setting)
                if study.confirmation is not None:
                    confirm(setting)
                if study.search.audit is not None:
                    audit(setting)
                with stage(SEARCH):
                    report = write_report(setting)
    wait_until_recorded()
    return report


def search(setting: Setting) -> list[TrialResult]:
    """Train every trial of the study's brackets that has no result yet."""
    latest: dict[str, TrialResult] = {}
    history: list[Observation] = []
    choose = chooser(setting)
    for bracket in setting.study.brackets:
        trials = remaining = choose(bracket, history)
        ended: list[tuple[int, list[TrialResult]]] = []
        for rung in bracket.rungs:
            entrants = remaining[: rung.trials]
            announce_rung(bracket, rung, len(entrants))
            results = train_rung(replace(setting, rung=rung.epochs), entrants)
            ended.append((rung.epochs, results))
            remaining = survivors(results, setting.sweep.direction)
            latest |= {result.trial.key: result for result in results}
        history += observed(trials, ended, setting.sweep.direction)
    return list(latest.values())


def chooser(setting: Setting) -> Callable[[Bracket, Sequence[Observation]], list[Trial]]:
    """Return a function from a bracket and what was observed before it to its trials.

    What a model proposes is recorded, and proposed once: an interrupted or extended sweep continues with the same.
    """
    store, sweep, study = setting.store, setting.sweep, setting.study
    recorded = dict(read_proposals(store, sweep)) if study.search.method in MODEL_METHODS else {}

    def choose(bracket: Bracket, history: Sequence[Observation]) -> list[Trial]:
        kept = recorded.get(bracket.first, [])
        trials = propose_trials(study, sweep.number, setting.data, bracket, history, kept)
        if is_proposed(study.search, bracket):
            announce_round(bracket, len(history))
            if len(trials) > len(kept):
                recorded[bracket.first] = [trial.point for trial in trials]
                write_proposals(store, sweep, recorded)
        return trials

    return choose


def train_rung(setting: Setting, trials: Sequence[Trial]) -> list[TrialResult]:
    """Train those trials to the end of the rung that have no result there yet; return the results of all."""
    results = already_finished(setting, trials)
    finished = {result.trial.key for result in results}
    missing = list({trial.key: trial for trial in reversed(trials) if trial.key not in finished}.values())
    return results + train_cohorts(setting, cohorts(missing, setting.study.path.parent))


def confirm(setting: Setting) -> Confirmation | None:
    """Train the missing replicates of the finalists and choose the winner; None if the study confirms none."""
    if rules(setting).finalists == 0:
        return None
    with stage(CONFIRMATION):
        train_replicates(setting, finalists(setting))
        return confirm_finalists(setting)


def audit(setting: Setting) -> None:
    """Train the missing audits of stopped trials, and record what stopping cost."""
    with stage(AUDIT):
        for cohort in cohorts(missing_audits(setting), setting.study.path.parent):
            train_cohort(setting, cohort)
        record_audit(setting)


def train_replicates(setting: Setting, results: Sequence[TrialResult], count: int | None = None) -> None:
    """Train the missing ones of the replicates 1..count of the trials, in cohorts."""
    for cohort in cohorts(missing_replicates(setting, results, count), setting.study.path.parent):
        train_cohort(setting, cohort)
