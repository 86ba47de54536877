"""A training between two epochs as a file: all that is needed to go on from there to the same end, bit for bit.

Plans are functions of the epoch and of what the controller remembers, so the place in the order of the examples is a
number. The file is NumPy's .npz without pickles, arrays and the rest as one JSON text, and after it the SHA-256 of all
that: an archive's own checksums leave out its directory, and NumPy's reader takes some damaged files for whole ones.
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
    """A snapshot that cannot be gone on from; the text says why."""


@dataclass(frozen=True, eq=False)
class EngineSnapshot:
    """What an engine's state is made of: weights, slots and random streams in an order of its own, and a few facts."""

    arrays: Sequence[np.ndarray]
    facts: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A training after some epochs."""

    engine: str
    state: EngineSnapshot
    controller: Mapping[str, Any]  # of `Controller.state`
    best: Sequence[np.ndarray]  # the best epoch's weights so far, in the model's order
    history: Sequence[Mapping[str, float]]  # each epoch's values
    seconds: float  # trained so far


class Keeper(Protocol):
    """Where a training's snapshots are kept, and how often."""

    def read(self) -> Snapshot | None:
        """Return the one to go on from, or None where the training is to begin."""

    def refuse(self, reason: str) -> None:
        """Take note that what was read could not be gone on from, and the training begins anew."""

    def is_due(self, is_last: bool) -> bool:
        """Say whether to keep a snapshot now; `is_last` at a halt before the training's end."""

    def write(self, snapshot: Snapshot) -> None:
        """Keep a snapshot in place of the one before."""


def write_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Write the file. OSError where it cannot be."""
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
    """Read the file back; SnapshotError where it is damaged or another version's."""
    try:
        _refuse_damaged(path)
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            values = json.loads(str(file["values"]))
            if values["format"] != FORMAT:
                raise SnapshotError(f"a snapshot of format {values['format']}; this is {FORMAT}")
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
        raise SnapshotError(f"a snapshot that cannot be read: {error}") from error


def _refuse_damaged(path: Path) -> None:
    """SnapshotError unless the file ends with the digest of what comes before."""
    size = max(0, path.stat().st_size - DIGEST_BYTES)
    with path.open("rb") as file:
        file.seek(size)
        told = file.read()
    if told != _digest(path, size):
        raise SnapshotError("a snapshot that cannot be read: it is damaged, or was not written to its end")


def _digest(path: Path, size: int) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while size and (chunk := file.read(min(size, CHUNK_BYTES))):
            digest.update(chunk)
            size -= len(chunk)
    return digest.digest()


def refuse_other_shapes(held: Sequence[Any], arrays: Sequence[np.ndarray]) -> None:
    """SnapshotError unless the arrays are like those that a state holds."""
    ours, theirs = ([(tuple(each.shape), _kind(each)) for each in group] for group in (held, arrays))
    if ours != theirs:
        raise SnapshotError("a snapshot of other weights or slots than this training has")


def _kind(array: Any) -> str:
    return str(getattr(array.dtype, "name", array.dtype))


def _numbered(file: Mapping[str, np.ndarray], name: str) -> list[np.ndarray]:
    count = sum(key.removeprefix(name).isdecimal() for key in file if key.startswith(name))
    return [file[f"{name}{place}"] for place in range(count)]
