"""Log probes to MLflow: range tests before a study's trials, one run for all of its optimizers."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.provenance import commit_tags
from nightune.tasks.tracking.store.store import Store, client, study_experiment

if TYPE_CHECKING:
    from nightune.tuning.study.study import Study

BATCH_METRICS = 1000  # MLflow's limit


def log_probe(
    store: Store,
    study: "Study",
    data_version: str,
    curves: Mapping[str, Sequence[float]],
    files: Mapping[str, str],
) -> str:
    """Log one probe of a study as a run of kind `probe` in its experiment; return the run's id.

    Curves are metrics, one value an update, counted from 1; files are artifacts, by name.
    """
    from mlflow.entities import Metric  # noqa: PLC0415 - MLflow takes seconds to import

    mlflow_client = client(store)
    tags = {
        names.KIND: "probe",
        names.STUDY_DIGEST: study.digest,
        names.DATA_VERSION: data_version,
        names.SEED: str(study.seed),
        names.MLFLOW_NOTE: "A learning-rate range test of each optimizer, before any trial.",
    }
    run = mlflow_client.create_run(
        study_experiment(store, study.name), tags=tags | commit_tags(study.path.parent), run_name="probe"
    )
    run_id, started_ms = str(run.info.run_id), int(run.info.start_time)
    metrics = [
        Metric(name, value, started_ms, step) for name, values in curves.items() for step, value in enumerate(values, 1)
    ]
    for start in range(0, len(metrics), BATCH_METRICS):
        mlflow_client.log_batch(run_id, metrics=metrics[start : start + BATCH_METRICS])
    for name, text in files.items():
        mlflow_client.log_text(run_id, text, name)
    mlflow_client.set_terminated(run_id, "FINISHED")
    return run_id
