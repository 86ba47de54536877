"""Download the checkpoints of finished trials."""

from pathlib import Path

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.store import Store, client


def fetch_checkpoint(store: Store, run_id: str, folder: Path) -> Path:
    """Download the checkpoint of a finished trial, its best epoch's model, into a folder; return the file."""
    return Path(client(store).download_artifacts(run_id, names.CHECKPOINT, str(folder)))
