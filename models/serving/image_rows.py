"""Read rows of images for a version: paths, bytes of files or pixels, as training read its folder.

It imports only modules that are stored with every registered model (`CARRIED` in `predictor.py`).
"""

from pathlib import Path
from typing import Any

import numpy as np

from nightune.models.errors import InputError
from nightune.models.serving.image_files import ImageError, decode_image

LEVELS = 255  # inputs are uint8 / 255


def as_images(raw: Any, shape: tuple[int, ...], key: str) -> np.ndarray:
    """Return rows of images as a model's inputs (rows, height, width, channels) float32 in [0, 1].

    Each row is the path of an image file, its bytes, or pixels of the model's shape: whole numbers from 0 to 255, or
    floats in [0, 1]. InputError names the row, and the file.
    """
    rows = _listed(raw)
    if isinstance(rows, np.ndarray) and rows.dtype.kind == "f" and rows.shape[1:] == shape:
        return _shares(rows, key)
    images = [_one(row, shape, key, place) for place, row in enumerate(rows)]
    return np.stack(images) if images else np.empty((0, *shape), np.float32)


def scaled(pixels: np.ndarray) -> np.ndarray:
    """Return uint8 pixels as float32 in [0, 1]."""
    return np.asarray(pixels, np.float32) / np.float32(LEVELS)


def _listed(raw: Any) -> Any:
    """Return the rows of a table of one column, of an array or of a list; a single file is one row."""
    if isinstance(raw, str | bytes | Path):
        return [raw]
    if hasattr(raw, "columns") and len(raw.columns) == 1:
        raw = raw.iloc[:, 0]
    values = raw.to_numpy() if callable(getattr(raw, "to_numpy", None)) else raw
    return values if isinstance(values, np.ndarray) else list(values)


def _one(row: Any, shape: tuple[int, ...], key: str, place: int) -> np.ndarray:
    height, width, channels = shape
    if isinstance(row, str | Path):
        path = Path(row)
        try:
            return scaled(decode_image(path.read_bytes(), (height, width), channels))
        except OSError as error:
            raise InputError(key, f"row {place}: {path} cannot be read ({error.strerror or error})") from error
        except ImageError as error:
            raise InputError(key, f"row {place}: {path} is no image that can be read ({error})") from error
    if isinstance(row, bytes | bytearray | memoryview):
        try:
            return scaled(decode_image(bytes(row), (height, width), channels))
        except ImageError as error:
            raise InputError(key, f"row {place}: its bytes are no image that can be read ({error})") from error
    return _from_pixels(np.asarray(row), shape, key, place)


def _from_pixels(pixels: np.ndarray, shape: tuple[int, ...], key: str, place: int) -> np.ndarray:
    grey = pixels[..., None] if pixels.ndim == 2 else pixels
    if grey.dtype.kind == "f" and grey.shape == shape:
        return _shares(grey, key)
    if grey.dtype.kind in "iu" and grey.shape == shape:
        if grey.size and (grey.min() < 0 or grey.max() > LEVELS):
            raise InputError(key, f"row {place} holds whole numbers outside 0 to {LEVELS}; give uint8 pixels")
        return scaled(grey)
    needed = "a path, the bytes of a file, whole numbers from 0 to 255 or floats from 0 to 1"
    what = f"an array {pixels.shape} of {pixels.dtype}" if pixels.ndim else f"{row_text(pixels)}"
    raise InputError(key, f"row {place} is {what}; this model reads images of shape {shape}: {needed}")


def row_text(value: np.ndarray) -> str:
    """Return a single value as it is shown in a message."""
    return f"{value.item()!r}"[:80]


def _shares(values: np.ndarray, key: str) -> np.ndarray:
    if values.size and not (values.min() >= 0 and values.max() <= 1):  # NaN compares as false
        said = f"floats from {values.min():.4g} to {values.max():.4g}"
        raise InputError(key, f"images hold {said}; training read shares of 255, from 0 to 1: give uint8 pixels")
    return np.ascontiguousarray(values, dtype=np.float32)
