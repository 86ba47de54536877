"""Read the inputs of a source of arrays: one array, or several by name or in order, as float32 or int32."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from nightune.models.data.placement import blocks
from nightune.models.errors import InputError
from nightune.models.serving.arrays import BEYOND, plain_array
from nightune.models.serving.input_trees import ArrayTree, named_arrays

KEY = "data.source"
TEXTS_AS_IDS = (
    "texts, and a model takes numbers: return a DataFrame for columns of words, or the ids of words, such as "
    "vectorize = keras.layers.TextVectorization(max_tokens=2000, output_sequence_length=40), vectorize.adapt(x) and "
    "keras.ops.convert_to_numpy(vectorize(x))"
)
EXACT = 2**24  # up to here float32 holds each whole number


def several_inputs(given: Any, rows: int, source: str) -> dict[str, Any] | tuple[Any, ...] | None:
    """Return a dictionary of inputs by name, or a tuple of inputs in order, as given; None for one array.

    A list of arrays with as many of them as there are rows is one array of rows. InputError for an empty dictionary,
    names that are no texts, and dictionaries in a dictionary.
    """
    if isinstance(given, Mapping):
        if not given or not all(isinstance(name, str) and name for name in given):
            raise InputError(
                KEY, f"{source}: inputs are a dictionary with the names {list(given)}; name each by a text"
            )
        return _flat(dict(given), source)
    if not isinstance(given, list | tuple) or len(given) < 2 or len(given) == rows:
        return None
    shapes: list[tuple[int, ...]] = [getattr(each, "shape", ()) for each in given]
    if not all(shapes) or rows not in [shape[0] for shape in shapes]:
        return None
    return tuple(given)


def only_input(given: Any, rows: int) -> Any:
    """Return the array of a list of one array with so many rows; anything else as it is."""
    is_one = isinstance(given, list | tuple) and len(given) == 1 and rows > 1
    return given[0] if is_one and getattr(given[0], "shape", ())[:1] == (rows,) else given


def _flat(given: dict[str, Any], source: str) -> dict[str, Any]:
    nested = next((name for name, each in given.items() if isinstance(each, Mapping)), None)
    if nested is not None:
        raise InputError(KEY, f"{source}: input {nested!r} is a dictionary itself; return all arrays in one dictionary")
    return given


def read_several(given: Any, rows: int, source: str) -> tuple[ArrayTree, tuple[str, ...]]:
    """Return several inputs, each with so many rows, and findings; InputError names the array and its problem.

    Nothing is scaled: whole numbers become int32, and floats and booleans float32.
    """
    read: list[np.ndarray] = []
    findings: list[str] = []
    said = []
    for name, values in named_arrays(given):
        what = f"values of input {name!r}"
        array = plain_array(values, KEY, f"{source}: {what}")
        if array.ndim == 0 or array.size == 0 or len(array) != rows:
            held = ", ".join(f"{each!r} {np.shape(other)}" for each, other in named_arrays(given))
            problem = f"the inputs have the shapes {held}, and there are {rows} targets"
            raise InputError(KEY, f"{source}: {problem}; each input needs one row for each target")
        numbers, found = as_inputs(array, source, what)
        read.append(numbers)
        findings += found
        kind = "whole numbers" if numbers.dtype.kind == "i" else "floats"
        said.append(f"{name!r} ({kind}, {_range(numbers)})")
    names = [name for name, _ in named_arrays(given)]
    tree: ArrayTree = dict(zip(names, read, strict=True)) if isinstance(given, dict) else tuple(read)
    return tree, (f"inputs: {', '.join(said)} are taken as they are; nothing is standardized", *findings)


def as_inputs(
    inputs: np.ndarray, name: str, what: str = "inputs", returns: str = ""
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Convert floats and booleans to float32, whole numbers to int32; `what` of the source `name` they are.

    `returns` says what a source may hold, for values that are no numbers.
    """
    if inputs.dtype.kind not in "bfiu":
        held = TEXTS_AS_IDS if inputs.dtype.kind == "U" else f"{inputs.dtype.name} values; numbers are needed{returns}"
        raise InputError(KEY, f"{name}: {what} hold {held}")
    if inputs.dtype.kind in "bf":
        with np.errstate(over="ignore"):  # values too large for float32 become infinite, and are refused
            numbers = np.ascontiguousarray(inputs, dtype=np.float32)
        refuse_non_finite(numbers, name, what)
        return numbers, _rounded(inputs, numbers, what)
    low, high = int(inputs.min()), int(inputs.max())
    if low < -(2**31) or high >= 2**31:
        raise InputError(KEY, f"{name}: {what} from {low} to {high} do not fit into 32 bits; {BEYOND}")
    numbers = np.ascontiguousarray(inputs, dtype=np.int32)
    if inputs.dtype == np.uint8 or inputs.ndim > 2:
        finding = (
            f"{what} are whole numbers from {low} to {high}, kept as integers for an embedding layer; "
            "for any other network return floats, such as x / 255 for images"
        )
        return numbers, (finding,)
    return numbers, ()


def refuse_non_finite(inputs: np.ndarray, name: str, what: str = "inputs") -> None:
    """Refuse NaN and infinite inputs, with their number and the row of the first."""
    count, first = 0, -1
    for span in blocks(inputs):
        finite = np.isfinite(inputs[span])
        if not finite.all():
            first = span.start + int(np.argwhere(~finite)[0][0]) if first < 0 else first
            count += int(finite.size - finite.sum())
    if count:
        values = "input values" if what == "inputs" else what
        problem = f"{count} {values} are NaN, infinite or too large for float32, the first in row {first}"
        raise InputError(KEY, f"{name}: {problem}; remove such rows, or replace the values")


def _rounded(inputs: np.ndarray, numbers: np.ndarray, what: str) -> tuple[str, ...]:
    """Report whole numbers that float32 does not hold, the first one of them."""
    for span in blocks(inputs):
        given, kept = inputs[span], numbers[span]
        if np.abs(kept).max() > EXACT and (lost := (kept != given) & (np.floor(given) == given)).any():
            one, other = given[lost][0], kept[lost][0]
            return (f"{what} hold whole numbers that float32 rounds, such as {one:.0f} to {other:.0f}; {BEYOND}",)
    return ()


def _range(numbers: np.ndarray) -> str:
    return f"from {numbers.min():.4g} to {numbers.max():.4g}"
