"""Suggest a range of learning rates for a study, before its first sweep: a Prefect flow."""

from pathlib import Path

from prefect import flow

from nightune.flows.runtime.environment import store_root, tracking_uri
from nightune.flows.runtime.task_run_records import wait_until_recorded
from nightune.models.kept_code import code_kept
from nightune.models.techniques.learning_rates.range_test import UPDATES
from nightune.tasks.load_study import load_study
from nightune.tasks.prepare_data import prepare_data
from nightune.tasks.probe_rates import keep_probe, probe_rates
from nightune.tasks.reporting.probe_report import StudyProbe
from nightune.tasks.tracking.store.autologging import without_autologging
from nightune.tasks.tracking.store.store import open_store


@flow(name="probe", flow_run_name="probe {study_file.stem}")
def probe(study_file: Path, seed: int | None = None, updates: int = UPDATES) -> StudyProbe:
    """Run a learning-rate range test for each optimizer of the study in a file, and store the results in MLflow."""
    with code_kept():
        study = load_study(study_file, seed=seed)
        store = open_store(store_root(), tracking_uri())
        with without_autologging():
            data = prepare_data(study, store.root)
            probed = keep_probe(store, study, data, probe_rates(store, study, data, updates))
    wait_until_recorded()
    return probed
