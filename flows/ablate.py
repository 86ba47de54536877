"""Train the ablation path of a complete sweep: a Prefect flow."""

from pathlib import Path

from prefect import flow

from nightune.flows.runtime.environment import store_root, tracking_uri
from nightune.flows.runtime.task_run_records import wait_until_recorded
from nightune.models.kept_code import code_kept
from nightune.phases import ABLATION, stage
from nightune.tasks.cohorts import cohorts
from nightune.tasks.load_study import load_study
from nightune.tasks.reporting.edited_code import edits_reported
from nightune.tasks.reporting.ledger_keeper import command_clock, ledger_kept
from nightune.tasks.resume_sweep import resume_sweep
from nightune.tasks.tracking.store.autologging import without_autologging
from nightune.tasks.tracking.store.lock import study_lock
from nightune.tasks.tracking.store.store import open_store
from nightune.tasks.train_ablation import missing_ablation
from nightune.tasks.train_cohort import train_cohort
from nightune.tasks.trial.interrupts import terminations_remembered

COMMAND = "report --train-ablation"


@flow(name="ablate", flow_run_name="ablate {study_file.stem}")
def ablate(study_file: Path, sweep: str | None = None) -> int:
    """Train what is missing of the ablation path of the study's last complete sweep, or of a named one.

    Return the number of trainings.
    """
    trained = 0
    with terminations_remembered(), command_clock(), code_kept(), edits_reported():
        study = load_study(study_file)
        store = open_store(store_root(), tracking_uri())
        with study_lock(store, study.name), without_autologging():
            setting = resume_sweep(store, study, sweep)
            with ledger_kept(setting, COMMAND), stage(ABLATION):
                for cohort in cohorts(missing_ablation(setting), setting.study.path.parent):
                    trained += len(train_cohort(setting, cohort))
    wait_until_recorded()
    return trained
