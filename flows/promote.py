"""Promote a model of a complete sweep: confirm its finalists, judge the winner, move the alias. A Prefect flow."""

from pathlib import Path

from prefect import flow

from nightune.flows.runtime.environment import store_root, tracking_uri
from nightune.flows.runtime.task_run_records import wait_until_recorded
from nightune.flows.tune import confirm, train_replicates
from nightune.models.kept_code import code_kept
from nightune.phases import GATE, stage
from nightune.tasks.confirm_finalists import finalists, missing_replicates, rules, with_rules
from nightune.tasks.load_study import load_study
from nightune.tasks.promote_model import Promotion, Request, best_candidate, promote_model
from nightune.tasks.reporting.edited_code import edits_reported
from nightune.tasks.reporting.events import PromotionStarted, announce_promotion
from nightune.tasks.reporting.ledger_keeper import command_clock, ledger_kept
from nightune.tasks.reporting.read_report import read_report
from nightune.tasks.resume_sweep import resume_sweep
from nightune.tasks.setting import Setting
from nightune.tasks.tracking.store.autologging import without_autologging
from nightune.tasks.tracking.store.errors import StoreError
from nightune.tasks.tracking.store.lock import study_lock
from nightune.tasks.tracking.store.store import open_store


@flow(name="promote", flow_run_name="promote {study_file.stem}")
def promote(
    study_file: Path, sweep: str | None = None, dry_run: bool = False, force: bool = False, because: str = ""
) -> Promotion:
    """Judge the best confirmed model of the study's last complete sweep, or of a named one; promote it if it passes."""
    with command_clock(), code_kept(), edits_reported():
        study = load_study(study_file)
        store = open_store(store_root(), tracking_uri())
        with study_lock(store, study.name), without_autologging():
            setting = resume_sweep(store, study, sweep)
            with ledger_kept(setting, "promote"):
                promotion = promote_sweep(setting, Request(dry_run, force, because))
    wait_until_recorded()
    return promotion


def promote_sweep(setting: Setting, request: Request) -> Promotion:
    """Confirm the finalists, train the replicates that the gate requires, and judge the winner.

    The caller holds the study's lock.
    """
    setting = with_rules(setting)
    announce_promotion(PromotionStarted(setting.sweep.id, _steps(setting)))
    confirmation = confirm(setting)
    report = read_report(setting.store, setting.study.name, setting.sweep)
    winner = best_candidate(confirmation, report.results)
    if winner is None:
        raise StoreError(f"{setting.sweep.id}: no trial gave a finite result with every seed; nothing can be promoted")
    with stage(GATE):
        wanted = setting.study.promotion.replicates
        missing = len(missing_replicates(setting, [winner], wanted))
        announce_promotion(PromotionStarted(setting.sweep.id, missing + 1, is_judging=True))
        train_replicates(setting, [winner], wanted)
        return promote_model(setting, winner, confirmation, request)


def _steps(setting: Setting) -> int:
    """Return how many steps the promotion has: trainings that are missing, and the judgement."""
    confirmed, wanted = rules(setting), setting.study.promotion.replicates
    if confirmed.finalists == 0:
        return wanted + 1
    later = max(0, wanted - confirmed.replicates)  # of the winner, which is not known yet
    return len(missing_replicates(setting, finalists(setting))) + later + 1
