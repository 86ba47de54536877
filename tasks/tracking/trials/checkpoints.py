"""Download the checkpoints of finished trials, and say why one cannot be opened."""

import re
from pathlib import Path

from nightune.models.error_causes import cause_of
from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.store import Store, client


def fetch_checkpoint(store: Store, run_id: str, folder: Path) -> Path:
    """Download the checkpoint of a finished trial, its best epoch's model, into a folder; return the file.

    RefusedRequestError if there is none.
    """
    listed = {file.path for file in client(store).list_artifacts(run_id, names.CHECKPOINT_FOLDER)}
    found = next((name for name in names.CHECKPOINTS if name in listed), names.CHECKPOINT)
    return Path(client(store).download_artifacts(run_id, found, str(folder)))


def why_unopened(error: Exception) -> str:
    """Return the cause in one line; Keras names a class that it does not find far down in its text."""
    lost = re.search(r"Could not locate \w+ '[^']+'", str(error))
    return lost[0] if lost else cause_of(error)
