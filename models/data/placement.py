"""Settle where prepared data stays during training: in memory if it fits well, else on disk, read by batches."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import psutil

from nightune.models.data.memory_limits import room_within_limits
from nightune.settings import read_settings

MEMORY_SHARE = 0.25  # of what is free: an engine holds a copy of its own, and models need room beside both


@dataclass(frozen=True)
class Placement:
    """The place of arrays, memory or disk, and the reason with its numbers."""

    is_on_disk: bool
    reason: str


def place(size: int) -> Placement:
    """Settle the place of so many bytes: NIGHTUNE_DATA (memory or disk) decides, or what is free now."""
    requested = read_settings().data
    if requested != "auto":
        return Placement(requested == "disk", f"{gibibytes(size)}, as NIGHTUNE_DATA says")
    free = available_bytes()
    is_on_disk = size > MEMORY_SHARE * free
    relation = "more than" if is_on_disk else "at most"
    return Placement(is_on_disk, f"{gibibytes(size)}, {relation} a quarter of the {gibibytes(free)} of free memory")


def available_bytes() -> int:
    """Memory that this process may still take without anything being swapped out, within all limits on it."""
    return int(min(psutil.virtual_memory().available, room_within_limits()))


def gibibytes(size: int) -> str:
    """Format a number of bytes in MiB or GiB."""
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"


BLOCK_BYTES = 2**26


def gather(array: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Return array[index]: in memory, or mapped to an unnamed file in TMPDIR that is deleted with the array."""
    row = max(1, array.nbytes // max(1, len(array)))
    if not len(index) or not place(len(index) * row).is_on_disk:
        return np.asarray(array[index])
    gathered = mapped_to_disk((len(index), *array.shape[1:]), array.dtype)
    for span in blocks(gathered):
        gathered[span] = array[index[span]]
    return gathered


def mapped_to_disk(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return an array in an unnamed file in TMPDIR that is deleted with the array."""
    with tempfile.TemporaryFile(prefix="nightune-") as file:
        return np.memmap(file, dtype, "w+", shape=shape)


def blocks(array: np.ndarray) -> Iterator[slice]:
    """Yield spans of rows of at most BLOCK_BYTES, at least one row each."""
    rows = max(1, BLOCK_BYTES * len(array) // max(1, array.nbytes))
    return (slice(start, min(len(array), start + rows)) for start in range(0, len(array), rows))
