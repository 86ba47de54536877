"""Find images of which little is read: 16 bits of grey with few levels, of which 8 bits are read, and animations."""

import io
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np

from nightune.models.errors import InputError

WHOLE = 2**16 - 1  # the largest level of 16 bits
STEP = 257  # levels of 16 bits that are one of 8 bits
_OF_SEVERAL = (".gif", ".png", ".tif", ".tiff", ".webp")
FEWEST, FEW = 32, 128  # levels of 8 bits: fewer are refused, or said


def remarks_on_levels(files: Iterable[Path | bytes], key: str) -> list[str]:
    """Say that images of 16 bits keep few levels as 8 bits; InputError if hardly any are left.

    All images together are judged, since a dark one among others is meant so. Files that cannot be decoded are left to
    their reader.
    """
    levels = [level for level in map(_largest_level, files) if level is not None]
    largest = max(levels, default=WHOLE)
    left = largest // STEP + 1
    if left >= FEW:
        return []
    count = "1 level is" if left == 1 else f"{left} levels are"
    problem = f"{len(levels)} images have 16 bits of grey, with levels up to {largest} of {WHOLE}"
    problem = f"{problem}: as 8 bits, {count} left"
    remedy = f"save them with pixels * {WHOLE // max(1, largest)}"
    if left < FEWEST:
        raise InputError(key, f"{problem}; {remedy}")
    return [f"{problem}; to keep more, {remedy}"]


def remarks_on_pictures(files: Iterable[Path]) -> list[str]:
    """Say that files hold several pictures, such as those of an animation, of which the first one is read."""
    moving = [file for file in files if file.suffix.lower() in _OF_SEVERAL and _has_several(file)]
    if not moving:
        return []
    return [f"{len(moving)} files hold several pictures, of which the first is read, such as {moving[0].name}"]


def _has_several(file: Path) -> bool:
    from PIL import Image  # noqa: PLC0415 - only for images

    with suppress(Exception), Image.open(file) as image:
        return int(getattr(image, "n_frames", 1)) > 1
    return False


def _largest_level(file: Path | bytes) -> int | None:
    """Return the largest level of an image of 16 bits, a file or its bytes; None for others."""
    from PIL import Image  # noqa: PLC0415 - only for images

    opened = io.BytesIO(file) if isinstance(file, bytes) else file
    with suppress(Exception), Image.open(opened) as image:  # what a decoder raises is up to it
        if image.mode.startswith("I"):
            return int(np.asarray(image).max())
    return None
