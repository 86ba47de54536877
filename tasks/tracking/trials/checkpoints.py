"""The saved models of finished trials."""

from pathlib import Path

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.store import Store, client


def fetch_checkpoint(store: Store, run_id: str, folder: Path) -> Path:
    """Bring the best epoch's model of a finished trial into a folder and return the file."""
    return Path(client(store).download_artifacts(run_id, names.CHECKPOINT, str(folder)))
