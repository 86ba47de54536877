"""What MLflow's client lacks: to take a file of a run away."""

from typing import Any

from tasks.tracking.patience import patiently
from tasks.tracking.store import Store, client


def delete_artifacts(store: Store, run_id: str, path: str) -> None:
    """Delete a file or a folder among a run's artifacts."""
    from mlflow.store.artifact.artifact_repository_registry import (  # noqa: PLC0415 - MLflow takes seconds
        get_artifact_repository,
    )

    artifacts: Any = get_artifact_repository(client(store).get_run(run_id).info.artifact_uri)
    patiently(lambda: artifacts.delete_artifacts(path), store.tracking_uri)
