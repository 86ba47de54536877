"""The `.keras` file of a model as a template: Keras writes one, and other weights replace its bytes.

A `.keras` file is a ZIP archive of two JSON texts and an HDF5 file, in which each weight is contiguous.
"""

import io
import math
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from nightune.models.library_internals.files import (
    CONFIG,
    METADATA,
    WEIGHTS,
    with_dropout_rate,
    with_present_date,
)

MARKS = 2**24  # whole numbers up to this one are exact in float32

Write = Callable[[list[np.ndarray]], bytes]  # from weights in the model's order to a `.keras` file


@dataclass(frozen=True, eq=False)
class Template:
    """A `.keras` file, and the position of each weight in its HDF5 file."""

    members: dict[str, bytes]  # in the archive's order
    places: tuple[tuple[int, int], ...]  # (index of a weight, offset of its first byte)

    def fill(self, weights: Sequence[np.ndarray], dropout: float | None) -> bytes:
        """Return the file with these weights, and with `dropout`, if given, as the rate of all Dropout layers."""
        stored = bytearray(self.members[WEIGHTS])
        for number, offset in self.places:
            content = np.ascontiguousarray(weights[number]).tobytes()
            stored[offset : offset + len(content)] = content
        members = {**self.members, WEIGHTS: bytes(stored), METADATA: with_present_date(self.members[METADATA])}
        if dropout is not None:
            members[CONFIG] = with_dropout_rate(members[CONFIG], dropout)
        return _archive(members)


def learn_template(write: Write, weights: list[np.ndarray]) -> Template | None:
    """Derive the template from two files that `write` writes; None if filling it in does not reproduce the second.

    In the first file each weight has a distinct value, by which it is found.
    """
    marks = [np.full_like(weight, number + 1) for number, weight in enumerate(weights)]
    if any(weight.dtype != np.float32 or weight.size == 0 for weight in weights) or len(weights) > MARKS:
        return None
    members = _members(write(marks))
    if WEIGHTS not in members:
        return None
    template = Template(members, _places(members[WEIGHTS], marks))
    expected, filled = _members(write(weights)), _members(template.fill(weights, None))
    for content in (expected, filled):
        content.pop(METADATA)  # it contains the time
    return template if expected == filled else None


def _places(stored: bytes, marks: list[np.ndarray]) -> tuple[tuple[int, int], ...]:
    places: list[tuple[int, int]] = []

    def visit(_name: str, item: Any) -> None:
        offset = item.id.get_offset() if isinstance(item, h5py.Dataset) and item.size else None
        if offset is None or item.dtype != np.float32:  # not contiguous, or not a weight
            return
        value = float(item[()].flat[0])
        number = int(value) - 1 if math.isfinite(value) else -1
        if 0 <= number < len(marks) and np.array_equal(item[()], marks[number]):
            places.append((number, int(offset)))

    with h5py.File(io.BytesIO(stored), "r") as file:
        file.visititems(visit)
    return tuple(places)


def _members(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _archive(members: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, member in members.items():
            archive.writestr(zipfile.ZipInfo(name), member)
    return content.getvalue()
