"""Look a store over: what is wrong with it, what would mend it, and the mending where it is asked for."""

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

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import SweepStatus, all_sweeps, interrupt_sweep
from nightune.tasks.tracking.trials.trials import reconcile

FREE_GIB = 2.0  # below it a night may fill the disk
WRITING_SECONDS = 3600.0


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `remedy` says what would mend it; `mend` does so, None where only a person can."""

    subject: str
    is_well: bool
    text: str
    remedy: str = ""
    mend: Callable[[], object] | None = None


def examine(store: Store) -> list[Finding]:
    """Look at the database, the disk, what dead processes have left, lost files, package versions."""
    return [
        *_database(store),
        _disk(store),
        *_open_runs(store),
        *_left_notes(store),
        *_left_files(store),
        *_lost_checkpoints(store),
        *_versions(),
    ]


def devices() -> Finding:
    """What Keras computes on here. It imports the backend, which takes seconds."""
    from nightune.models.backend import devices as backend_devices  # noqa: PLC0415 - Keras

    try:
        backend, found = backend_devices()
    except ImportError as error:
        return Finding(
            "devices", False, f"Keras' backend cannot be imported: {error}", "set KERAS_BACKEND, or install it"
        )
    return Finding("devices", True, f"{backend}: {', '.join(found)}")


def repair(findings: list[Finding]) -> list[Finding]:
    """Mend what can be mended; return what is left."""
    left = []
    for finding in findings:
        if finding.mend is not None:
            finding.mend()
        elif not finding.is_well:
            left.append(finding)
    return left


def _database(store: Store) -> Iterator[Finding]:
    if not store.is_local:
        experiments = client(store).search_experiments(max_results=1)
        yield Finding("store", True, f"the tracking server answers ({len(experiments)} or more experiments)")
        return
    path = store.root / "mlflow.db"
    with closing(sqlite3.connect(path)) as database:
        said = database.execute("pragma quick_check(1)").fetchone()[0]
        mode = database.execute("pragma journal_mode").fetchone()[0]
    size = path.stat().st_size / 2**20
    remedy = "restore mlruns/ from a back-up (docs/operations.md)"
    yield Finding("store", said == "ok", f"{path}: {said}, {size:.0f} MiB, {mode}", "" if said == "ok" else remedy)


def _disk(store: Store) -> Finding:
    free = shutil.disk_usage(store.root).free / 2**30
    remedy = "" if free >= FREE_GIB else "free some, or `nightune prune STUDY --keep 20`"
    return Finding("disk", free >= FREE_GIB, f"{free:.1f} GiB free at {store.root}", remedy)


def _open_runs(store: Store) -> Iterator[Finding]:
    """Trials that a dead process has left open. Those of a study that is being worked on are none of ours."""
    for experiment in client(store).search_experiments(max_results=10_000):
        question = "attributes.status = 'RUNNING'"
        open_runs = client(store).search_runs([experiment.experiment_id], question, max_results=10_000)
        if not open_runs or _is_busy(store, experiment.name):
            continue
        yield Finding(
            experiment.name,
            False,
            f"{len(open_runs)} runs are open, and no process works on the study",
            "close them; `nightune tune` takes them up again",
            partial(_close, store, experiment),
        )


def _close(store: Store, experiment: Any) -> None:
    reconcile(store, experiment.experiment_id)
    for sweep in all_sweeps(store, experiment.name):
        if sweep.status is SweepStatus.RUNNING:
            interrupt_sweep(store, sweep)


def _left_notes(store: Store) -> Iterator[Finding]:
    for note in sorted((store.root / "locks").glob("*.json")):
        study = note.name.split(".")[0]
        if not _is_busy(store, study) and not note.name.endswith(".deaths.json"):
            yield Finding(study, False, f"{note.name} was left by a process that is gone", "delete it", note.unlink)


def _left_files(store: Store) -> Iterator[Finding]:
    """What a kill has left half written. Whole ones have other names, and a writer needs no hour."""
    halves = [*store.root.glob("data/.unfinished-*"), *store.root.glob("locks/*.half")]
    for path in sorted(halves):
        if time.time() - path.stat().st_mtime > WRITING_SECONDS:
            yield Finding("files", False, f"{path.name} is half written", "delete it", partial(_delete, path))


def _lost_checkpoints(store: Store) -> Iterator[Finding]:
    if not store.is_local:
        return
    for experiment in client(store).search_experiments(max_results=10_000):
        question = f"{names.tag_equals(names.KIND, 'trial')} and attributes.status = 'FINISHED'"
        runs = client(store).search_runs([experiment.experiment_id], question, max_results=50_000)
        lost = [
            run
            for run in runs
            if run.data.metrics.get(names.BEST_EPOCH) and names.PRUNED not in run.data.tags and not _has_checkpoint(run)
        ]
        if lost:
            numbers = ", ".join(run.info.run_name for run in lost[:5])
            text = f"{len(lost)} trials have lost their checkpoint ({numbers} …)"
            yield Finding(experiment.name, False, text, "restore mlruns/artifacts from a back-up, or tune --fresh")


def _versions() -> Iterator[Finding]:
    """The packages that this one asks for, within the limits that it states."""
    try:
        needed = metadata.requires("nightune") or []
    except metadata.PackageNotFoundError:  # it runs from a folder, not installed: nothing states the limits
        return
    for text in needed:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            version = ""
        if not version or not requirement.specifier.contains(version, prereleases=True):
            said = f"{requirement.name} {version or 'is missing'}, but {requirement} is needed"
            yield Finding("versions", False, said, "pip install -c constraints.txt -e .")


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
    return address.scheme != "file" or (Path(unquote(address.path)) / names.CHECKPOINT).exists()


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
