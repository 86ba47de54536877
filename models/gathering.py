"""Rows of large arrays, in blocks: a split that free memory has no room for is gathered into a temporary file."""

import tempfile
from collections.abc import Iterator

import numpy as np

from models.placement import place

BLOCK_BYTES = 2**26


def gather(array: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Return array[index]: in memory, or as a map of a file without a name that goes with it (TMPDIR says where)."""
    row = max(1, array.nbytes // max(1, len(array)))
    if not len(index) or not place(len(index) * row).is_on_disk:
        return np.asarray(array[index])
    with tempfile.TemporaryFile(prefix="nightune-") as file:
        gathered = np.memmap(file, array.dtype, "w+", shape=(len(index), *array.shape[1:]))
    for span in blocks(gathered):
        gathered[span] = array[index[span]]
    return gathered


def blocks(array: np.ndarray) -> Iterator[slice]:
    """Spans of rows of at most BLOCK_BYTES, at least one row each."""
    rows = max(1, BLOCK_BYTES * len(array) // max(1, array.nbytes))
    return (slice(start, min(len(array), start + rows)) for start in range(0, len(array), rows))
