"""Bring files to the machine of a worker: prepared data, and the user's code with the files that it names.

A file is known by its digest. A machine takes a file once: from the flow's folder where it sees it (a shared folder),
else from the artifacts of the sweep's run, to which the flow has copied it for this.
"""

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from nightune.models.errors import DamagedDataError
from nightune.models.named_files import content_digest
from nightune.tasks.tracking.store.store import Store, client

ARTIFACTS = "workers"  # the folder of the sweep's artifacts


@dataclass(frozen=True)
class Parcel:
    """Files of a folder of the flow, with the digest of each by its name in the folder; names have slashes.

    `name` is that of the folder on the machine of a worker, relative to its store. `run_id` is the run that has the
    files among its artifacts; empty where all workers see the folder.
    """

    name: str
    folder: Path
    digests: Mapping[str, str]
    run_id: str = ""


def pack(name: str, folder: Path, files: Mapping[str, Path]) -> Parcel:
    """Return the parcel of a folder's files, given by their names in it."""
    return Parcel(name, folder, {each: content_digest(file) for each, file in sorted(files.items())})


def upload(parcel: Parcel, store: Store, run_id: str) -> None:
    """Copy the files to the artifacts of a run, for machines that do not see the flow's folder."""
    for name in parcel.digests:
        place = f"{ARTIFACTS}/{parcel.name}/{name}".rpartition("/")[0]
        client(store).log_artifact(run_id, str(parcel.folder / name), place)


def unpack(parcel: Parcel, root: Path, store: Store) -> Path:
    """Return the folder of the files below a worker's store; bring them there if no worker of the machine has yet.

    It appears complete or not at all. DamagedDataError if a file differs from what the flow has sent.
    """
    folder, checked = root / parcel.name, root / "checked" / f"{parcel.name.replace('/', '-')}.txt"
    checked.parent.mkdir(parents=True, exist_ok=True)
    wanted = "\n".join(f"{digest} {name}" for name, digest in parcel.digests.items())
    with FileLock(checked.with_suffix(".lock")):
        if checked.exists() and checked.read_text(encoding="utf-8") == wanted and folder.is_dir():
            return folder
        if not folder.is_dir():
            _bring(parcel, folder, store)
        else:
            _check(parcel, folder, remedy=folder)
        checked.write_text(wanted, encoding="utf-8")
    return folder


def _bring(parcel: Parcel, folder: Path, store: Store) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=folder.parent) as place:
        half = Path(place) / "files"
        for name in parcel.digests:
            target = half / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(_source(parcel, name, Path(place), store), target)
        _check(parcel, half, remedy=parcel.folder)
        half.replace(folder)


def _source(parcel: Parcel, name: str, place: Path, store: Store) -> Path:
    """Return a file that can be read here: the flow's, or a download."""
    seen = parcel.folder / name
    if seen.is_file() or not parcel.run_id:
        return seen
    artifact = f"{ARTIFACTS}/{parcel.name}/{name}"
    return Path(client(store).download_artifacts(parcel.run_id, artifact, str(place)))


def _check(parcel: Parcel, folder: Path, remedy: Path) -> None:
    for name, digest in parcel.digests.items():
        file = folder / name
        if not file.is_file() or content_digest(file) != digest:
            problem = f"{name} is missing or differs from what the flow has sent; delete {remedy} and run again"
            raise DamagedDataError("data", problem)
