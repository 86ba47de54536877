"""A training between two epochs as a file: everything needed to resume it with a bit-identical result.

Plans are functions of the epoch and of the controller's state, so the position in the order of the examples is a
number. The file is NumPy's .npz without pickles, with the arrays and one JSON text, followed by a SHA-256 of it: the
checksums of an archive do not cover its directory, and NumPy reads some damaged files without an error.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

FORMAT = 1
DIGEST_BYTES = 32
CHUNK_BYTES = 2**20


class SnapshotError(ValueError):
    """A snapshot from which training cannot resume; the text gives the reason."""


@dataclass(frozen=True, eq=False)
class EngineSnapshot:
    """The contents of an engine's state: weights, slots and random states in the engine's order, and a few numbers."""

    arrays: Sequence[np.ndarray]
    facts: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A training after some epochs."""

    engine: str
    state: EngineSnapshot
    controller: Mapping[str, Any]  # of `Controller.state`
    best: Sequence[np.ndarray]  # weights of the best epoch so far, in the model's order
    history: Sequence[Mapping[str, float]]  # each epoch's values
    seconds: float  # of training so far


class Keeper(Protocol):
    """The storage of a training's snapshots, and their interval."""

    def read(self) -> Snapshot | None:
        """Return the snapshot to resume from, or None to start."""

    def refuse(self, reason: str) -> None:
        """Record that training could not resume from the snapshot, and starts again."""

    def is_due(self, is_last: bool) -> bool:
        """Return whether to write a snapshot now; `is_last` is True at a halt before the training's end."""

    def write(self, snapshot: Snapshot) -> None:
        """Replace the previous snapshot."""


def write_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Write the file; raise OSError on failure."""
    values = {
        "format": FORMAT,
        "engine": snapshot.engine,
        "facts": dict(snapshot.state.facts),
        "controller": snapshot.controller,
        "history": snapshot.history,
        "seconds": snapshot.seconds,
    }
    arrays = {
        **{f"state{place}": array for place, array in enumerate(snapshot.state.arrays)},
        **{f"best{place}": array for place, array in enumerate(snapshot.best)},
    }
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, values=np.array(json.dumps(values)), **arrays)
    digest = _digest(path, path.stat().st_size)
    with path.open("ab") as file:
        file.write(digest)


def read_snapshot(path: Path) -> Snapshot:
    """Read the file; raise SnapshotError if it is damaged or from another version."""
    try:
        _refuse_damaged(path)
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            values = json.loads(str(file["values"]))
            if values["format"] != FORMAT:
                raise SnapshotError(f"the snapshot has format {values['format']}; this version reads {FORMAT}")
            return Snapshot(
                engine=values["engine"],
                state=EngineSnapshot(_numbered(file, "state"), values["facts"]),
                controller=values["controller"],
                best=_numbered(file, "best"),
                history=values["history"],
                seconds=values["seconds"],
            )
    except SnapshotError:
        raise
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise SnapshotError(f"the snapshot cannot be read: {error}") from error


def _refuse_damaged(path: Path) -> None:
    """Raise SnapshotError unless the file ends with the digest of its contents."""
    size = max(0, path.stat().st_size - DIGEST_BYTES)
    with path.open("rb") as file:
        file.seek(size)
        stored = file.read()
    if stored != _digest(path, size):
        raise SnapshotError("the snapshot cannot be read: it is damaged or incomplete")


def _digest(path: Path, size: int) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while size and (chunk := file.read(min(size, CHUNK_BYTES))):
            digest.update(chunk)
            size -= len(chunk)
    return digest.digest()


def refuse_other_shapes(held: Sequence[Any], arrays: Sequence[np.ndarray]) -> None:
    """Raise SnapshotError unless shapes and types of the arrays match those of the state."""
    ours, theirs = ([(tuple(each.shape), _kind(each)) for each in group] for group in (held, arrays))
    if ours != theirs:
        raise SnapshotError("the snapshot has other weights or slots than this training")


def _kind(array: Any) -> str:
    return str(getattr(array.dtype, "name", array.dtype))


def _numbered(file: Mapping[str, np.ndarray], name: str) -> list[np.ndarray]:
    count = sum(key.removeprefix(name).isdecimal() for key in file if key.startswith(name))
    return [file[f"{name}{place}"] for place in range(count)]
