"""Check a store for problems, report the remedies, and repair it on request."""

import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from filelock import FileLock, Timeout
from packaging.requirements import Requirement

from nightune.tasks.tracking.registry.damages import damaged_versions
from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.lease import is_leased
from nightune.tasks.tracking.store.lock import study_lock
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import SweepStatus, all_sweeps, interrupt_sweep
from nightune.tasks.tracking.trials.damages import damaged_runs
from nightune.tasks.tracking.trials.trials import reconcile

MINIMUM_FREE_GIB = 2.0  # with less, a night may fill the disk
MAXIMUM_WRITE_SECONDS = 3600.0  # a file that is incomplete for longer was left by a kill


@dataclass(frozen=True)
class Finding:
    """The result of one check. `remedy` explains the repair; `repair` does so, None if only a person can."""

    subject: str
    is_well: bool
    text: str
    remedy: str = ""
    repair: Callable[[], object] | None = None


def examine(store: Store) -> list[Finding]:
    """Check the database, the disk, leftovers of dead processes, lost files, damaged records and package versions."""
    return [
        *_database(store),
        _disk(store),
        *_open_runs(store),
        *_stale_notes(store),
        *_incomplete_files(store),
        *_lost_checkpoints(store),
        *_damaged_records(store),
        *_versions(),
    ]


def devices() -> Finding:
    """Return the devices that Keras uses. Importing the backend takes seconds."""
    from nightune.models.backend import devices as backend_devices  # noqa: PLC0415 - Keras

    try:
        backend, found = backend_devices()
    except ImportError as error:
        return Finding(
            "devices",
            False,
            f"Keras' backend cannot be imported: {error}",
            "set KERAS_BACKEND to an installed backend, or install this one",
        )
    return Finding("devices", True, f"{backend}: {', '.join(found)}")


def repair(findings: list[Finding]) -> list[Finding]:
    """Repair the problems that can be repaired; return the others."""
    left = []
    for finding in findings:
        if finding.repair is not None:
            finding.repair()
        elif not finding.is_well:
            left.append(finding)
    return left


def _database(store: Store) -> Iterator[Finding]:
    if not store.is_local:
        experiments = client(store).search_experiments(max_results=1)
        what = "tracking server" if store.is_served else "database"
        yield Finding("store", True, f"the {what} answers ({len(experiments)} or more experiments)")
        return
    path = store.root / "mlflow.db"
    with closing(sqlite3.connect(path)) as database:
        check = database.execute("pragma quick_check(1)").fetchone()[0]
        mode = database.execute("pragma journal_mode").fetchone()[0]
    size = path.stat().st_size / 2**20
    remedy = "restore mlruns/ from a backup (docs/backup.md)"
    yield Finding("store", check == "ok", f"{path}: {check}, {size:.0f} MiB, {mode}", "" if check == "ok" else remedy)


def _disk(store: Store) -> Finding:
    free = shutil.disk_usage(store.root).free / 2**30
    remedy = "" if free >= MINIMUM_FREE_GIB else "free disk space, or run `nightune prune STUDY --keep 20`"
    return Finding("disk", free >= MINIMUM_FREE_GIB, f"{free:.1f} GiB free at {store.root}", remedy)


def _open_runs(store: Store) -> Iterator[Finding]:
    """Find runs that a dead process left open. Studies that a live process runs, on any machine, are skipped."""
    for experiment in client(store).search_experiments(max_results=10_000):
        ours, experiment_id = names.tag_differs(names.KIND, ""), experiment.experiment_id
        condition = f"{ours} and attributes.status = 'RUNNING'"
        open_runs = client(store).search_runs([experiment_id], condition, max_results=10_000)
        if not open_runs or _is_busy(store, experiment.name) or is_leased(client(store), experiment_id):
            continue
        yield Finding(
            experiment.name,
            False,
            f"{len(open_runs)} runs are open, but no process is running the study",
            "close them; `nightune tune` resumes them",
            partial(_close, store, experiment),
        )


def _close(store: Store, experiment: Any) -> None:
    with study_lock(store, experiment.name):  # a command may have begun since
        reconcile(store, experiment.experiment_id)
        for sweep in all_sweeps(store, experiment.name):
            if sweep.status is SweepStatus.RUNNING:
                interrupt_sweep(store, sweep)


def _stale_notes(store: Store) -> Iterator[Finding]:
    for note in sorted((store.root / "locks").glob("*.json")):
        study = note.name.split(".")[0]
        if not _is_busy(store, study) and not note.name.endswith(".deaths.json"):
            text, delete = f"{note.name} was left by a dead process", partial(note.unlink, missing_ok=True)
            yield Finding(study, False, text, "delete it", delete)  # closing its open runs deletes it, too


def _incomplete_files(store: Store) -> Iterator[Finding]:
    """Find incomplete files that a kill left. Complete ones have other names, and writing takes less than an hour."""
    halves = [*store.root.glob("data/.unfinished-*"), *store.root.glob("locks/*.half")]
    for path in sorted(halves):
        if time.time() - path.stat().st_mtime > MAXIMUM_WRITE_SECONDS:
            yield Finding("files", False, f"{path.name} is incomplete", "delete it", partial(_delete, path))


def _lost_checkpoints(store: Store) -> Iterator[Finding]:
    """Find trials without their checkpoint, where artifacts are files: a server would be asked for each trial."""
    if store.is_served:
        return
    for experiment in client(store).search_experiments(max_results=10_000):
        condition = f"{names.tag_equals(names.KIND, 'trial')} and attributes.status = 'FINISHED'"
        runs = client(store).search_runs([experiment.experiment_id], condition, max_results=50_000)
        lost = [
            run
            for run in runs
            if run.data.metrics.get(names.BEST_EPOCH) and names.PRUNED not in run.data.tags and not _has_checkpoint(run)
        ]
        if lost:
            numbers = ", ".join(run.info.run_name for run in lost[:5])
            text = f"{len(lost)} trials have lost their checkpoint ({numbers} …)"
            yield Finding(
                experiment.name,
                False,
                text,
                "restore mlruns/artifacts from a backup, or run `nightune tune STUDY --fresh`",
            )


def _damaged_records(store: Store) -> Iterator[Finding]:
    """Find what was changed or deleted on MLflow's pages: other commands leave it out."""
    remedy = "restore it on MLflow's page, or delete it there"
    for experiment in client(store).search_experiments(max_results=10_000):
        for problem in damaged_runs(store, experiment.experiment_id):
            yield Finding(experiment.name, False, problem, remedy)
    for model, problem in damaged_versions(store):
        yield Finding(model, False, problem, f"{remedy}; `nightune rollback` restores the last known champion")


def _versions() -> Iterator[Finding]:
    """Check that the required packages are installed in allowed versions."""
    try:
        required = metadata.requires("nightune") or []
    except metadata.PackageNotFoundError:  # not installed, but run from a folder: requirements unknown
        return
    for needed in required:
        requirement = Requirement(needed)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            version = ""
        if not version or not requirement.specifier.contains(version, prereleases=True):
            text = f"{requirement.name} {version or 'is missing'}, but {requirement} is required"
            yield Finding("versions", False, text, "pip install -c constraints.txt -e .")


def _is_busy(store: Store, study: str) -> bool:
    lock = store.root / "locks" / f"{study}.lock"
    if not lock.exists():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True


def _has_checkpoint(run: Any) -> bool:
    address = urlparse(run.info.artifact_uri)
    folder = Path(unquote(address.path))
    return address.scheme != "file" or any((folder / name).exists() for name in names.CHECKPOINTS)


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
