"""Read what holds rows of numbers or texts as a plain array, as it is meant; refuse what cannot be meant.

It imports only modules that are stored with every registered model (`CARRIED` in `predictor.py`).
"""

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np

from nightune.models.errors import InputError
from nightune.models.serving.labels import as_text

LARGEST_DENSE = 2**32  # bytes of a sparse matrix with its zeros
BEYOND = (
    "number ids from 0, such as np.unique(x, return_inverse=True)[1].reshape(x.shape), and scale quantities, such as "
    "(x - x.mean(axis=0)) / x.std(axis=0)"
)
IMAGE_AXES, LENGTH = 3, "length, for sequences by keras.utils.pad_sequences"
_WHOLE = (bool, int, np.bool_, np.integer)
_NUMBERS = (*_WHOLE, float, np.floating, Decimal)
_TEXTS = (str, bytes)
_ROWS = (list, tuple, np.ndarray)
_KINDS = {
    "c": "complex numbers; return their real and imaginary parts, or np.abs of them",
    "M": "moments; return a DataFrame, whose dates are read, or numbers such as days since a fixed date",
    "m": "time spans; return a DataFrame, whose time spans are read, or numbers such as seconds",
    "V": "records; return pd.DataFrame(records), with a column that [data] target names, or an array of one type",
}


def plain_array(values: Any, key: str, what: str) -> np.ndarray:
    """Return an array of booleans, whole numbers, floats or texts in the machine's byte order, never masked.

    Sparse matrices get their zeros, objects become the numbers or texts that they are, rows that are arrays or lists
    become one array, and missing numbers become NaN. InputError, which names `what` the values are, for masked or
    missing texts, records, complex numbers, moments, rows of different lengths and other objects.
    """
    if callable(getattr(values, "toarray", None)):  # of SciPy
        values = _dense(values, key, what)
    if isinstance(values, list | tuple):
        return _from_list(values, key, what)
    if not isinstance(values, np.ndarray) and callable(getattr(values, "to_numpy", None)):  # of pandas and others
        values = values.to_numpy()
    try:
        array = values if isinstance(values, np.ndarray) else np.asarray(values)
    except Exception as error:  # what a library's own container raises is up to it
        raise InputError(key, f"{what} are a {type(values).__name__}, which is no array ({error})") from error
    if array.dtype.kind in _KINDS:
        raise InputError(key, f"{what} hold {_KINDS[array.dtype.kind]}")
    if isinstance(array, np.ma.MaskedArray):
        array = _unmasked(array, key, what)
    if array.dtype.kind == "O":
        return _from_objects(array, key, what)
    return _native(np.asarray(array), key, what)


def as_inputs(array: np.ndarray, kind: str, key: str) -> np.ndarray:
    """Convert an array to a model's inputs, float32 or int32; InputError with row and value for what these cannot be.

    These are texts, NaN and infinite values, and, for int32, fractions and numbers beyond 32 bits.
    """
    if array.dtype.kind not in "bfiu":
        raise InputError(key, f"the inputs hold {array.dtype.name} values; this model needs numbers")
    with np.errstate(over="ignore", invalid="ignore"):  # what does not fit is refused below
        inputs = np.ascontiguousarray(array, dtype=kind)
    for start in range(0, len(array), 1024):  # large inputs are mapped to a file
        some, given = inputs[start : start + 1024], array[start : start + 1024]
        is_bad = ~np.isfinite(some) if some.dtype.kind == "f" else some != given
        if is_bad.any():
            place = tuple(np.argwhere(is_bad)[0])
            words = "a finite number" if some.dtype.kind == "f" else f"a whole number that {kind} holds"
            raise InputError(key, f"row {start + place[0]} holds {given[place]!s}; this model needs {words} there")
    return inputs


def _dense(matrix: Any, key: str, what: str) -> Any:
    size = int(np.prod(matrix.shape, dtype=np.float64)) * matrix.dtype.itemsize
    if size > LARGEST_DENSE:
        raise InputError(
            key,
            f"{what} are a sparse matrix of shape {matrix.shape}, {size / 2**30:.0f} GiB with its zeros; return fewer "
            "columns, such as those of scikit-learn's TruncatedSVD",
        )
    return matrix.toarray()


def _unmasked(array: Any, key: str, what: str) -> np.ndarray:
    mask = np.ma.getmaskarray(array)
    if mask.any():
        _refuse_masked(np.argwhere(mask)[0][:1], int(mask.sum()), key, what)
    return np.asarray(array.data)


def _refuse_masked(first: Sequence[Any], count: int, key: str, what: str) -> None:
    place = f", the first in row {first[0]}" if len(first) else ""
    raise InputError(
        key,
        f"{what}: {count} values are masked{place}; remove such rows, fill them in, such as x.filled(x.mean()), or "
        "return a DataFrame, whose gaps are filled and marked",
    )


def _from_list(values: Sequence[Any], key: str, what: str) -> np.ndarray:
    kinds = set(map(type, values))
    if kinds <= {list, tuple}:
        kinds = {type(value) for row in values for value in row}
    if kinds and (all(issubclass(kind, _NUMBERS) for kind in kinds - {Decimal}) or kinds <= {str}):
        try:
            return plain_array(np.asarray(values), key, what)
        except (ValueError, OverflowError) as error:  # rows of different lengths, numbers beyond 64 bits
            if isinstance(error, InputError):
                raise
    objects = np.empty(len(values), dtype=object)
    for place, value in enumerate(values):
        objects[place] = value
    return _from_objects(objects, key, what)


def _from_objects(objects: np.ndarray, key: str, what: str) -> np.ndarray:
    import pandas as pd  # noqa: PLC0415 - half a second, only for objects

    if objects.ndim == 0 and not isinstance(objects.item(), (*_NUMBERS, *_TEXTS)):
        raise InputError(
            key, f"{what} are a {type(objects.item()).__name__}, which is not read; return an array of numbers or texts"
        )
    flat = objects.ravel()
    masked = [place for place, value in enumerate(flat) if np.ma.isMaskedArray(value) and np.ma.is_masked(value)]
    if masked:
        _refuse_masked(np.unravel_index(masked[0], objects.shape), len(masked), key, what)
    if any(isinstance(value, _ROWS) or _is_container(value) for value in flat):
        return _stacked(objects, key, what)
    is_known = ~pd.isna(flat)
    kinds = set(map(type, flat[is_known]))
    _refuse_other_kinds(kinds, key, what)
    if not any(issubclass(kind, _TEXTS) for kind in kinds):
        return _numbers(flat, is_known, key, what).reshape(objects.shape)
    if not is_known.all():
        first, count = np.unravel_index(int(np.argmin(is_known)), objects.shape)[0], int((~is_known).sum())
        raise InputError(key, f"{what}: {count} values are missing, the first in row {first}; remove such rows")
    return np.array([as_text(value) for value in flat], dtype=np.str_).reshape(objects.shape)


def _refuse_other_kinds(kinds: set[type], key: str, what: str) -> None:
    """Refuse objects that are neither numbers nor texts, with the remedy for their kind."""
    remedies = {"c": (complex, np.complexfloating), "m": (timedelta, np.timedelta64), "M": (date, np.datetime64)}
    for kind in kinds:
        known = next((letter for letter, types in remedies.items() if issubclass(kind, types)), None)
        if known is None and issubclass(kind, (*_NUMBERS, *_TEXTS)):
            continue
        if known is None and hasattr(kind, "convert") and hasattr(kind, "resize"):
            raise InputError(key, f"{what} hold images; return np.stack([np.asarray(image) for image in images])")
        words = f"{kind.__name__} objects; numbers or texts are needed" if known is None else _KINDS[known]
        raise InputError(key, f"{what} hold {words}")


def _numbers(flat: np.ndarray, is_known: np.ndarray, key: str, what: str) -> np.ndarray:
    """Convert objects that are numbers or missing to booleans, whole numbers or floats."""
    if is_known.all() and all(isinstance(value, bool | np.bool_) for value in flat):
        return flat.astype(np.bool_)
    if is_known.all() and all(isinstance(value, _WHOLE) for value in flat):
        try:
            return flat.astype(np.int64)
        except OverflowError as error:
            raise InputError(key, f"{what} hold whole numbers beyond 64 bits; {BEYOND}") from error
    numbers = np.full(len(flat), np.nan)
    numbers[is_known] = flat[is_known].astype(np.float64)
    return numbers


def _stacked(objects: np.ndarray, key: str, what: str) -> np.ndarray:
    """Make one array of objects that are rows."""
    rows = [plain_array(row, key, what) for row in objects.ravel()]
    shapes = list(dict.fromkeys(row.shape for row in rows))
    if len(shapes) > 1:
        raise InputError(
            key,
            f"{what} are rows of different shapes, such as {shapes[0]} and {shapes[1]}; give them one "
            + ("size, such as by PIL's image.resize" if len(shapes[0]) == IMAGE_AXES else LENGTH),
        )
    has_texts = {row.dtype.kind == "U" for row in rows}
    if len(has_texts) > 1:
        raise InputError(key, f"{what} hold rows of texts and rows of numbers; numbers are needed")
    return np.stack(rows).reshape(*objects.shape, *shapes[0])


def _is_container(value: Any) -> bool:
    return any(callable(getattr(value, name, None)) for name in ("toarray", "to_numpy"))


def _native(array: np.ndarray, key: str, what: str) -> np.ndarray:
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind == "S":
        return np.array([as_text(value) for value in array.ravel().tolist()], dtype=np.str_).reshape(array.shape)
    if kind == "T":  # NumPy's texts of any length
        return _from_objects(array.astype(object), key, what)
    if kind == "f" and size not in (4, 8):
        return array.astype(np.float32 if size < 4 else np.float64)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
