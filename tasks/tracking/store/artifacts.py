"""Artifact operations that MLflow's client lacks: upload without reading the run, delete, and sync to the disk."""

import os
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

from nightune.tasks.tracking.store.retry import retry_call
from nightune.tasks.tracking.store.store import Store, client


def put_artifact(store: Store, artifact_uri: str, file: Path, folder: str | None = None) -> None:
    """Upload a file to a run's artifacts by their known address; MLflow's client would read the run again."""
    artifacts = _repository(store, artifact_uri)
    retry_call(lambda: artifacts.log_artifact(str(file), folder), store.tracking_uri)


def list_files(store: Store, artifact_uri: str) -> list[str]:
    """Return the names of the files and folders at an address of artifacts; empty if there are none."""
    artifacts = _repository(store, artifact_uri)
    return [str(file.path) for file in retry_call(lambda: artifacts.list_artifacts(None), store.tracking_uri)]


def delete_artifacts(store: Store, run_id: str, path: str) -> None:
    """Delete a file or a folder among a run's artifacts."""
    artifacts = _repository(store, _artifact_uri(store, run_id))
    retry_call(lambda: artifacts.delete_artifacts(path), store.tracking_uri)


def sync_artifact(store: Store, run_id: str, path: str) -> None:
    """Flush an artifact and its folder to the disk if the artifact is a local file; else do nothing."""
    file = local_artifact(store, run_id, path)
    if file is None:
        return
    for place in (file, file.parent):
        retry_call(partial(_sync, place), str(place))


def local_artifact(store: Store, run_id: str, path: str) -> Path | None:
    """Return the file of an artifact, or None if artifacts of the run are not files of this machine."""
    address = urlparse(_artifact_uri(store, run_id))
    return Path(url2pathname(address.path)) / path if address.scheme == "file" else None


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
