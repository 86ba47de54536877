"""Store snapshots of long trials: artifacts of their runs, from which another process resumes the training.

A new snapshot is complete and on the disk before the older one is deleted, so that a kill or a power cut at any moment
leaves a readable one. The tag is set before the first file and deleted after the last: no file exists without it.
"""

from collections.abc import Iterator
from pathlib import Path

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.artifacts import delete_artifacts, sync_artifact
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tasks.tracking.trials.runs import sweep_runs


def kept_runs(store: Store, sweep: Sweep) -> dict[str, str]:
    """Return the sweep's runs that have a snapshot, by trial key."""
    condition = f"{names.tag_equals(names.SWEEP, sweep.id)} and {names.tag_differs(names.SNAPSHOT, '')}"
    runs = sweep_runs(store, sweep, condition)
    return {run.data.tags[names.TRIAL_KEY]: str(run.info.run_id) for run in runs if names.TRIAL_KEY in run.data.tags}


def keep_snapshot(store: Store, run_id: str, file: Path, epoch: int) -> None:
    """Replace the previous snapshot by a new one, a file named by its epoch."""
    older = [path for path in _listed(store, run_id) if path != f"{names.SNAPSHOT_FOLDER}/{file.name}"]
    client(store).set_tag(run_id, names.SNAPSHOT, str(epoch))
    client(store).log_artifact(run_id, str(file), names.SNAPSHOT_FOLDER)
    sync_artifact(store, run_id, f"{names.SNAPSHOT_FOLDER}/{file.name}")
    for path in older:
        delete_artifacts(store, run_id, path)


def fetch_snapshots(store: Store, run_id: str, folder: Path) -> Iterator[Path]:
    """Download a run's snapshots into a folder, the newest first, one at a time."""
    for path in sorted(_listed(store, run_id), reverse=True):
        yield Path(client(store).download_artifacts(run_id, path, str(folder)))


def drop_snapshots(store: Store, run_id: str) -> None:
    """Delete a run's snapshots: its trial has ended."""
    for path in _listed(store, run_id):
        delete_artifacts(store, run_id, path)
    client(store).delete_tag(run_id, names.SNAPSHOT)


def drop_all_snapshots(store: Store, sweep: Sweep) -> None:
    """Delete the snapshots of trials that halted at a rung: the sweep is complete, and none will be resumed."""
    for run_id in kept_runs(store, sweep).values():
        drop_snapshots(store, run_id)


def _listed(store: Store, run_id: str) -> list[str]:
    return [str(file.path) for file in client(store).list_artifacts(run_id, names.SNAPSHOT_FOLDER)]
