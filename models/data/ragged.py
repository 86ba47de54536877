"""Pad the ragged inputs of a loader as the study says."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from nightune.models.errors import InputError
from nightune.models.serving.padding import END, is_list_of_rows, pad_rows

KEY, PAD = "data.source", "data.pad"


def pad_inputs(
    given: Any, rows: int, pad: Mapping[str, Any], source: str
) -> tuple[Any, dict[str, Any], tuple[str, ...]]:
    """Return inputs with their lists of rows padded, what a version needs to pad, and findings.

    Inputs that are no lists of `rows` rows stay as they are. InputError for lists of rows of different lengths, if the
    study does not say how to pad, and where it does and there is none.
    """
    given = {name: _rows_of(each) for name, each in given.items()} if isinstance(given, Mapping) else _rows_of(given)
    named = dict(given) if isinstance(given, Mapping) else {"": given}
    lists = {name: values for name, values in named.items() if is_list_of_rows(values) and len(values) == rows}
    if not pad:
        ragged = next((values for values in lists.values() if _is_ragged(values)), None)
        if ragged is not None:
            lengths = sorted({len(row) for row in ragged})
            problem = f"{source}: inputs are rows of different lengths, from {lengths[0]} to {lengths[-1]}"
            raise InputError(KEY, f'{problem}; pad = "end" (or "start") in [data] fills the short ones with 0')
        return given, {}, ()
    if not lists:
        raise InputError(PAD, "no input is a list of rows of different lengths; remove it")
    pads = {}
    findings = []
    for name, values in lists.items():
        longest = max(len(row) for row in values)
        length = pad.get("length") or max(1, longest)
        pads[name] = {
            "side": pad["side"],
            "value": pad.get("value", 0),
            "length": length,
            "is_cut": "length" in pad,
        }
        cut = sum(len(row) > length for row in values)
        named[name] = pad_rows(values, pads[name], KEY, f"{source}: input {name!r}" if name else f"{source}: inputs")
        side = "end" if pad["side"] == END else "start"
        filled = f"rows of up to {longest} values have {length} each, filled with {pads[name]['value']} at the {side}"
        what = f"input {name!r}: " if name else "inputs: "
        findings.append(f"{what}{filled}{f', and {cut} longer ones are cut there' if cut else ''}")
    return (named if isinstance(given, Mapping) else named[""]), pads, tuple(findings)


def _rows_of(values: Any) -> Any:
    """Return a ragged tensor of TensorFlow as the list of its rows; others as they are."""
    return values.to_list() if hasattr(values, "to_list") and hasattr(values, "row_splits") else values


def _is_ragged(values: Any) -> bool:
    """True for numbers in rows of different lengths; other objects are refused where they are read."""
    first: Any = next((row[0] for row in values if len(row)), None)
    return len({len(row) for row in values}) > 1 and isinstance(first, bool | int | float | np.number)
