"""What MLflow's client lacks: a file put without asking for its run, taken away, or on the disk for sure."""

import os
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

from nightune.tasks.tracking.store.retry import patiently
from nightune.tasks.tracking.store.store import Store, client


def put_artifact(store: Store, artifact_uri: str, file: Path, folder: str | None = None) -> None:
    """Put a file among the artifacts of a run whose address is known; MLflow's client would read the run again."""
    artifacts = _repository(store, artifact_uri)
    patiently(lambda: artifacts.log_artifact(str(file), folder), store.tracking_uri)


def delete_artifacts(store: Store, run_id: str, path: str) -> None:
    """Delete a file or a folder among a run's artifacts."""
    artifacts = _repository(store, _artifact_uri(store, run_id))
    patiently(lambda: artifacts.delete_artifacts(path), store.tracking_uri)


def settle_artifact(store: Store, run_id: str, path: str) -> None:
    """Return once a file among a run's artifacts is on the disk, where it is one of this machine's."""
    address = urlparse(_artifact_uri(store, run_id))
    if address.scheme != "file":
        return
    file = Path(url2pathname(address.path)) / path
    for place in (file, file.parent):
        patiently(partial(_sync, place), str(place))


def _repository(store: Store, artifact_uri: str) -> Any:
    from mlflow.store.artifact.artifact_repository_registry import (  # noqa: PLC0415 - MLflow takes seconds
        get_artifact_repository,
    )

    return get_artifact_repository(artifact_uri, tracking_uri=store.tracking_uri)


def _artifact_uri(store: Store, run_id: str) -> str:
    return str(client(store).get_run(run_id).info.artifact_uri)


def _sync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
