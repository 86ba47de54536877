"""Run one sweep of a study, from its file to the leaderboard: a Prefect flow."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from prefect import flow

from nightune.flows.runtime.environment import store_root, tracking_uri
from nightune.flows.runtime.task_run_records import wait_until_recorded
from nightune.flows.runtime.worker_process import provided_workers
from nightune.models.kept_code import code_kept
from nightune.phases import AUDIT, CONFIRMATION, SEARCH, stage
from nightune.settings import read_settings
from nightune.tasks.audit_stopping import missing_audits, record_audit
from nightune.tasks.cohorts import cohorts
from nightune.tasks.confirm_finalists import (
    confirm_finalists,
    finalists,
    has_finalists,
    missing_replicates,
    with_rules,
)
from nightune.tasks.describe_finalists import describe_finalists
from nightune.tasks.earlier_sweeps import Earlier, learned, read_earlier, uses_history
from nightune.tasks.first_points import begun_by, choose_first_points
from nightune.tasks.guide_proposals import guidance_of
from nightune.tasks.load_study import load_study, refuse_missing_sampler
from nightune.tasks.next_generation import member_chooser
from nightune.tasks.prepare_data import prepare_data
from nightune.tasks.propose_trials import Kept, propose_trials
from nightune.tasks.reporting.edited_code import edits_reported
from nightune.tasks.reporting.events import announce_first_rung, announce_round, announce_rung
from nightune.tasks.reporting.ledger_keeper import command_clock, ledger_kept
from nightune.tasks.reporting.sweep_log import kept_messages, sweep_log
from nightune.tasks.reporting.sweep_report import SweepReport
from nightune.tasks.search_budget import has_ended, record_end, with_budget
from nightune.tasks.setting import Setting
from nightune.tasks.start_sweep import already_finished, mark_interrupted_on_error, start_sweep
from nightune.tasks.tracking.store.autologging import without_autologging
from nightune.tasks.tracking.store.lock import study_lock
from nightune.tasks.tracking.store.store import open_store
from nightune.tasks.tracking.sweeps.beliefs import read_beliefs, write_beliefs
from nightune.tasks.tracking.sweeps.first_rungs import write_first_rungs
from nightune.tasks.tracking.sweeps.proposals import (
    count_of_portfolio,
    read_expectations,
    read_proposals,
    write_expectations,
    write_proposals,
)
from nightune.tasks.train_cohort import train_cohort
from nightune.tasks.train_cohorts import train_cohorts
from nightune.tasks.train_with_workers import train_with_workers
from nightune.tasks.trial.interrupts import terminations_remembered
from nightune.tasks.workers.requirements import environments_of_workers, refuse_unusable_workers
from nightune.tasks.write_beside import written_beside
from nightune.tasks.write_report import write_report
from nightune.tuning.analysis.beliefs import beliefs
from nightune.tuning.analysis.confirmation import Confirmation
from nightune.tuning.search.guidance import NO_GUIDANCE, Guidance
from nightune.tuning.search.observations import Observation, observed
from nightune.tuning.study.budgets import survivors
from nightune.tuning.study.rounds import as_settled, is_proposed, settled
from nightune.tuning.trial import Bracket, Params, Trial, TrialResult


@flow(name="tune", flow_run_name="tune {study_file.stem}")
def tune(  # noqa: PLR0913, PLR0917 - the parameters of a flow run
    study_file: Path,
    trials: int | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    hours: float | None = None,
    until: str | None = None,
    engine: str = "auto",
    fresh: bool = False,
    retry_failed: bool = False,
    is_night: bool = False,
    workers: int = 1,
) -> SweepReport:
    """Tune the study in a file: resume its unfinished sweep, return its complete one, or start the next.

    A night uses the history of earlier sweeps unless the study says otherwise. Several workers are processes that train
    side by side; one is this process itself. NIGHTUNE_DASK names a cluster whose workers train instead.
    """
    with terminations_remembered(), command_clock(), code_kept():
        study = load_study(study_file, trials=trials, epochs=epochs, seed=seed, hours=hours, until=until)
        cluster = read_settings().dask
        refuse_missing_sampler(study)
        refuse_unusable_workers(study, workers, cluster)
        environments = environments_of_workers(workers)
        store = open_store(store_root(), tracking_uri())
        with study_lock(store, study.name), without_autologging():
            data = prepare_data(study, store.root)
            with kept_messages() as earlier:
                setting = start_sweep(store, study, data, engine, fresh, retry_failed)
                setting = replace(setting, uses_history=study.search.uses_history(is_night))
            with (
                ledger_kept(setting, "tune", is_cluster=cluster is not None),
                sweep_log(setting, earlier),
                mark_interrupted_on_error(store, setting.sweep),
                edits_reported(),
            ):
                with provided_workers(environments, cluster, store.compiled) as crew:
                    with stage(SEARCH):
                        setting = search(with_budget(replace(setting, workers=crew), is_night))
                    if study.confirmation is not None:
                        confirm(setting)
                if study.search.audit is not None:
                    audit(setting)
                with stage(SEARCH):
                    report = write_report(setting)
    wait_until_recorded()
    return report


def search(setting: Setting) -> Setting:
    """Train every trial of the study's brackets that has no result yet, until the budget ends; return the setting.

    Its sweep says what ended the search before its last trial, if something did. Of a search that has ended, all rounds
    with recorded points are read, and none is trained.
    """
    latest: dict[str, TrialResult] = {}
    history: list[Observation] = []
    proposed: list[Trial] = []
    first_rungs = dict(setting.sweep.first_rungs)
    recorded = dict(read_proposals(setting.store, setting.sweep))
    guidance = cache(lambda: guidance_of(setting.study, setting.data.task))
    choose = member_chooser(setting, chooser(setting, recorded, first_rungs, guidance), latest)
    with written_beside(setting) as writing:
        for planned in setting.study.brackets:
            bracket, trials = choose(planned, history)
            remaining = trials
            proposed += trials
            ended: list[tuple[int, list[TrialResult]]] = []
            for rung in bracket.rungs:
                entrants = remaining[: rung.trials]
                announce_rung(bracket, rung, len(entrants))
                at_rung = replace(writing, rung=rung.epochs, first_rung=bracket.rungs[0].epochs)
                results = [each for group in in_turn(bracket, entrants) for each in train_rung(at_rung, group)]
                ended.append((rung.epochs, results))
                remaining = survivors(results, setting.sweep.direction)
                latest |= {result.trial.key: result for result in results}
            history += observed(trials, ended, setting.sweep.direction, setting.sweep.further)
            if has_ended(setting, latest.values()) and planned.first >= max(recorded, default=0):
                break
    believe(setting, proposed, history, guidance)
    return record_end(replace(setting, sweep=replace(setting.sweep, first_rungs=tuple(first_rungs.items()))))


def believe(
    setting: Setting,
    trials: Sequence[Trial],
    history: Sequence[Observation],
    guidance: Callable[[], Guidance],
) -> None:
    """Record what the search believes where a model proposed its trials, and how well its expectations came true.

    Once: what a search believed at its recorded end stays. Nothing where some of its trials are not in the history, as
    after a damaged record of their points.
    """
    study, sweep = setting.study, setting.sweep
    if (sweep.is_complete or sweep.ended_by) and read_beliefs(setting.store, sweep) is not None:
        return
    if not any(is_proposed(study.search, bracket) for bracket in study.brackets):
        return
    if {each.trial.number for each in setting.finished()} <= {each.number for each in history}:
        seed = study.sweep_seed(sweep.number)
        held = beliefs(study.space, trials, history, sweep.direction, seed, guidance().prior)
        write_beliefs(setting.store, sweep, held)


def chooser(
    setting: Setting,
    recorded: dict[int, Sequence[Params]],
    first_rungs: dict[int, int],
    guidance: Callable[[], Guidance],
) -> Callable[[Bracket, Sequence[Observation]], tuple[Bracket, list[Trial]]]:
    """Return a function from a planned bracket and what was observed before it to the bracket and its trials.

    `recorded` are the proposals on the sweep's run, and `first_rungs` those of rounds that adapt them; it adds to both.
    What a model proposes is recorded, and proposed once: an interrupted or extended sweep continues with the same. So
    are the rungs, and the points that it begins with: the best of earlier sweeps, and those of the portfolio. What
    guides proposals beside the results, `guidance` returns.
    """
    store, sweep, study = setting.store, setting.sweep, setting.study
    expected = dict(read_expectations(store, sweep))
    has_history = uses_history(setting)
    if not recorded:
        recorded |= choose_first_points(setting, has_history)
        if any(is_proposed(study.search, each) for each in study.brackets):
            guidance()  # before the first trial: damaged scores are refused
    begun = begun_by(study, recorded.get(0, []), count_of_portfolio(store, sweep))
    earlier = read_earlier(setting) if has_history else Earlier()

    def choose(planned: Bracket, history: Sequence[Observation]) -> tuple[Bracket, list[Trial]]:
        is_by_model = is_proposed(study.search, planned)
        kept = recorded.get(planned.first, []) if is_by_model else begun.points
        is_open = study.search.adapts_rungs and planned.first not in first_rungs
        is_new = is_by_model and (is_open or len(kept) < planned.trials)
        seen = learned(study, earlier, history) if is_new else history
        bracket = settled(study.search, planned, seen) if is_open else as_settled([planned], first_rungs)[0]
        if is_by_model and is_open:
            first_rungs[bracket.first] = bracket.rungs[0].epochs
            write_first_rungs(store, sweep.run_id, first_rungs)
        first = Kept(kept, expected.get(bracket.first, [])) if is_by_model else begun
        guided = guidance() if is_by_model and len(kept) < bracket.trials else NO_GUIDANCE
        trials = propose_trials(study, sweep.number, setting.data, bracket, seen, first, guided)
        if is_by_model:
            announce_round(bracket, len(seen))
            announce_first_rung(planned, bracket, is_new=is_open)
            if len(trials) > len(kept):
                recorded[bracket.first] = [trial.point for trial in trials]
                expected[bracket.first] = [trial.expected for trial in trials]
                write_expectations(store, sweep, expected)
                write_proposals(store, sweep, recorded)
        return bracket, trials

    return choose


def in_turn(bracket: Bracket, entrants: Sequence[Trial]) -> list[list[Trial]]:
    """Return the trials of a rung in groups to train one after the other.

    New members of a population continue from snapshots of others, so they begin before these train on.
    """
    new = [trial for trial in entrants if trial.number >= bracket.first]
    others = [trial for trial in entrants if trial.number < bracket.first]
    return [group for group in (new, others) if group]


def train_rung(setting: Setting, trials: Sequence[Trial]) -> list[TrialResult]:
    """Train those trials to the end of the rung that have no result there yet; return the results of all."""
    results = already_finished(setting, trials)
    finished = {result.trial.key for result in results}
    missing = list({trial.key: trial for trial in reversed(trials) if trial.key not in finished}.values())
    return results + train_cohorts(setting, cohorts(missing, setting.study.path.parent))


def confirm(setting: Setting) -> Confirmation | None:
    """Train the missing replicates of the finalists and choose the winner; None if there are none."""
    if not has_finalists(setting):
        return None
    setting = with_rules(setting)
    with stage(CONFIRMATION):
        train_replicates(setting, finalists(setting))
        confirmation = confirm_finalists(setting)
        describe_finalists(setting)
        return confirmation


def audit(setting: Setting) -> None:
    """Train the missing audits of stopped trials, and record what stopping cost."""
    with stage(AUDIT):
        for cohort in cohorts(missing_audits(setting), setting.study.path.parent):
            train_cohort(setting, cohort)
        record_audit(setting)


def train_replicates(setting: Setting, results: Sequence[TrialResult], count: int | None = None) -> None:
    """Train the missing ones of the replicates 1..count of the trials, in cohorts."""
    missing = missing_replicates(setting, results, count)
    if setting.workers is not None:
        train_with_workers(setting, missing)
        return
    for cohort in cohorts(missing, setting.study.path.parent):
        train_cohort(setting, cohort)
