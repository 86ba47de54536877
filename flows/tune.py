"""One sweep of a study, from its file to the leaderboard: a Prefect flow."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from prefect import flow

from flows.confirmation import confirm
from flows.environment import store_root, tracking_uri
from flows.records import wait_until_recorded
from tasks.load_study import load_study
from tasks.prepare_data import prepare_data
from tasks.progress import announce_rung
from tasks.propose_trials import propose_trials
from tasks.start_sweep import already_finished, kept_whole, start_sweep
from tasks.sweep_log import sweep_log
from tasks.tracking.store import open_store, study_lock
from tasks.train_cohort import Setting, cohorts, train_cohort
from tasks.write_report import SweepReport, write_report
from tuning.budgets import survivors
from tuning.trial import Trial, TrialResult


@flow(name="tune", flow_run_name="tune {study_file.stem}")
def tune(
    study_file: Path,
    trials: int | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    engine: str = "auto",
    fresh: bool = False,
) -> SweepReport:
    """Tune the study in a file: go on with its unfinished sweep, show its complete one, or start the next."""
    study = load_study(study_file, trials=trials, epochs=epochs, seed=seed)
    store = open_store(store_root(), tracking_uri())
    with study_lock(store, study.name):
        data = prepare_data(study, store.root)
        setting = start_sweep(store, study, data, engine, fresh)
        with sweep_log(setting), kept_whole(store, setting.sweep):
            search(setting)
            if study.confirmation is not None:
                confirm(setting)
            report = write_report(setting)
    wait_until_recorded()
    return report


def search(setting: Setting) -> list[TrialResult]:
    """Train every trial of the study's brackets that is not there yet."""
    latest: dict[str, TrialResult] = {}
    for bracket in setting.study.brackets:
        standing = propose_trials(setting.study, setting.sweep.number, setting.data, bracket, list(latest.values()))
        for rung in bracket.rungs:
            entrants = standing[: rung.trials]
            announce_rung(bracket, rung, len(entrants))
            results = train_rung(replace(setting, rung=rung.epochs), entrants)
            standing = survivors(results, setting.sweep.direction)
            latest |= {result.trial.key: result for result in results}
    return list(latest.values())


def train_rung(setting: Setting, trials: Sequence[Trial]) -> list[TrialResult]:
    """Train those of the trials to the rung's end that are not there yet."""
    results = already_finished(setting, trials)
    finished = {result.trial.key for result in results}
    for cohort in cohorts([trial for trial in trials if trial.key not in finished]):
        results += train_cohort(setting, cohort)
    return results
