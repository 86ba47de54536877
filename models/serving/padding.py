"""Give rows of different lengths one length, for training and for a version alike.

It imports only modules that are stored with every registered model (`CARRIED` in `predictor.py`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nightune.models.errors import InputError

START, END = "start", "end"


def is_list_of_rows(values: Any) -> bool:
    """True for a list, a tuple or an array of objects whose elements are lists or arrays, none of them masked."""
    if isinstance(values, np.ndarray) and (values.dtype != object or values.ndim != 1):
        return False
    if not isinstance(values, list | tuple | np.ndarray) or not len(values):
        return False
    return all(
        isinstance(row, list | tuple) or (isinstance(row, np.ndarray) and row.ndim and not np.ma.isMaskedArray(row))
        for row in values
    )


def padded(raw: Any, pads: Mapping[str, Mapping[str, Any]], key: str) -> Any:
    """Return rows, or a dictionary of them, with the rows of lists padded as in training; arrays stay as they are.

    `pads` has the side, the value, the length and whether longer rows are cut, by the name of an input, "" for one.
    """
    if "" in pads:
        return pad_rows(raw, pads[""], key, "inputs") if is_list_of_rows(raw) else raw
    if not all(callable(getattr(raw, name, None)) for name in ("keys", "__getitem__")):
        return raw
    given = {name: raw[name] for name in raw.keys()}  # noqa: SIM118 - a table has keys and is no dictionary
    return given | {
        name: pad_rows(list(values), pad, key, f"input {name!r}")
        for name, pad in pads.items()
        if (values := given.get(name)) is not None and is_list_of_rows(list(values))
    }


def pad_rows(rows: Sequence[Any], pad: Mapping[str, Any], key: str, what: str) -> np.ndarray:
    """Return (rows, length, …): short rows get the pad's value at its side, long ones are cut there.

    InputError for rows of other numbers of values beside the first dimension, for texts, and for long rows unless the
    pad says that these are cut.
    """
    arrays = [_array(row) if len(row) else np.zeros((0,)) for row in rows]
    longest = next((array for array in arrays if len(array)), np.zeros((1,)))
    for place, array in enumerate(arrays):
        is_other = len(array) and array.shape[1:] != longest.shape[1:]
        if array.dtype.kind not in "bfiu" or array.ndim == 0 or is_other:
            raise InputError(key, f"row {place} of {what} holds {_form(array)}; rows like {_form(longest)} are needed")
    kind = np.result_type(*{array.dtype for array in arrays if len(array)} or {longest.dtype})
    if kind.kind != "f" and np.asarray(pad["value"]).astype(kind) != pad["value"]:  # such as 0.5 or -1 for uint8
        kind = np.result_type(kind, np.min_scalar_type(pad["value"]))
    length = int(pad["length"])
    result = np.full((len(arrays), length, *longest.shape[1:]), pad["value"], dtype=kind)
    for place, array in enumerate(arrays):
        if len(array) > length and not pad["is_cut"]:
            problem = f"row {place} of {what} has {len(array)} values, and the model reads at most {length}"
            raise InputError(key, f"{problem}; cut it (pad with a length in [data] lets a version cut)")
        kept = array[:length] if pad["side"] == END else array[max(0, len(array) - length) :]
        if pad["side"] == END:
            result[place, : len(kept)] = kept
        else:
            result[place, length - len(kept) :] = kept
    return result


def _array(row: Any) -> np.ndarray:
    try:
        return np.asarray(row)
    except ValueError:  # lists of different lengths in a row, which are no numbers
        return np.empty(len(row), dtype=object)


def _form(array: np.ndarray) -> str:
    return f"{array.dtype.name} values of shape {array.shape}"
