"""Read loaders of batches or examples once: tf.data, PyDataset of Keras, DataLoader of PyTorch, generators."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from nightune.models.data.element_targets import are_arrays, targets_of, weights_of
from nightune.models.data.loader_columns import ENDS, Columns, are_equal, bytes_of, leaves_of
from nightune.models.data.return_remedies import remedy_for_element
from nightune.models.errors import InputError
from nightune.models.library_internals.datasets import batch_size_of, has_steps, step_before

KEY = "data.source"
_INDEXED, _OF_KERAS = ("PyDataset", "Sequence"), ("keras", "tensorflow", "tf_keras")
MOST_BATCHES, MOST_EXAMPLES = 100_000, 1_000_000  # of a loader of unknown length


def are_batches(given: Any) -> bool:
    """True for a loader that gives batches or examples one after the other."""
    if isinstance(given, Mapping | list | tuple | set | frozenset | str | bytes | range | np.ndarray):
        return False
    if any(hasattr(given, name) for name in ("__array__", "to_numpy", "toarray", "dtype")):
        return False
    return hasattr(given, "__iter__") or hasattr(given, "__next__") or _is_indexed(given)


def read_batches(given: Any, source: str, form: str = "") -> tuple[list[Any], bool, tuple[str, ...]]:
    """Return [inputs, targets] or [inputs, targets, weights] of all rows, whether they have an order, and findings.

    Several targets and their weights are dictionaries by name, or by place where the loader gives lists.

    The form of the elements is "batches" or "examples", or empty if their arrays shall tell it. Inputs may be a
    dictionary or a tuple of arrays. Rows of different shapes are lists. Large arrays are mapped to
    temporary files. Rows that come in another order each time are sorted by their content.
    """
    count, elements = _count(given), _elements(given)
    if count == -1:
        raise InputError(KEY, f"{source} returned an endless {type(given).__name__}; {ENDS}")
    is_repeatable = not hasattr(given, "__next__")
    first = next(elements(), None) if is_repeatable else None
    like = None if first is None else _parts(first, source)
    columns = Columns(source, count, form or ("batches" if _gives_batches(given, first, source) else ""))
    with closing(columns):
        for number, element in enumerate(islice(elements(), count), start=1):
            parts = _parts(element, source, like)
            like = like or parts
            columns.add(parts)
            if count is None and number >= (MOST_BATCHES if columns.are_batched else MOST_EXAMPLES):
                raise InputError(KEY, f"{source}: the loader has not ended after {number:,} elements; {ENDS}")
        arrays = columns.joined()
    findings = [columns.said()]
    again = next(elements(), None) if is_repeatable else None
    has_order = first is None or are_equal(_parts(first, source), _parts(again, source, like))
    if not has_order:
        digests = _all_digests(
            islice(elements(), count), columns.are_batched, partial(_parts, source=source, like=like)
        )
        arrays, said = _sorted_rows(arrays, digests, source)
        findings.append(said)
    return arrays, has_order, tuple(findings)


def _is_indexed(given: Any) -> bool:
    """True for a PyDataset of Keras, whose batches are taken by their number."""
    bases = [(each.__name__, each.__module__.partition(".")[0]) for each in type(given).__mro__]
    return any(name in _INDEXED and package in _OF_KERAS for name, package in bases)


def _gives_batches(given: Any, first: Any, source: str) -> bool:
    """True for loaders that say that they give batches: of Keras, of PyTorch, and of tf.data after `batch`."""
    is_data_loader = hasattr(given, "dataset") and getattr(given, "batch_size", None) is not None
    return _is_indexed(given) or is_data_loader or _is_batched_dataset(given, first, source)


def _is_batched_dataset(given: Any, first: Any, source: str) -> bool:
    """True if the last step of a tf.data.Dataset that changes rows puts them together.

    A `map` behind it may make one example of a batch, such as a window: its elements are batches for certain only if
    all arrays of the first one have the rows of a whole batch.
    """
    is_mapped = False
    while has_steps(given):
        name = type(given).__name__.lower()  # such as _ParallelBatchDataset
        if "batch" in name:
            return "unbatch" not in name and (not is_mapped or _has_rows_of(given, first, source))
        if "flatmap" in name or "interleave" in name:
            return False
        is_mapped = is_mapped or "map" in name
        given = step_before(given)
    return False


def _has_rows_of(batched: Any, element: Any, source: str) -> bool:
    """True if all arrays of an element have as many rows as a batch."""
    size = batch_size_of(batched)
    if size is None or element is None:
        return False
    arrays = [array for _, array in leaves_of(_parts(element, source))]
    return {len(each) if isinstance(each, list) or each.ndim else None for each in arrays} == {size}


def _count(given: Any) -> int | None:
    """Return the number of elements; -1 for an endless loader, None if it is not known."""
    if callable(getattr(given, "cardinality", None)):
        count = int(given.cardinality())
        return count if count >= -1 else None
    try:
        if _is_indexed(given):
            batches = getattr(given, "num_batches", 0)  # None for an endless one; earlier versions have a length only
            return -1 if batches is None else int(batches or len(given))
        return len(given)
    except (TypeError, NotImplementedError, AttributeError):
        return None


def _elements(given: Any) -> Callable[[], Iterator[Any]]:
    """Return a function that gives all elements, again at each call where the loader allows it."""
    if _is_indexed(given):
        return lambda: (given[number] for number in range(_count(given) or 0))
    return lambda: iter(given)


def _parts(element: Any, source: str, like: list[Any] | None = None) -> list[Any]:
    """Return inputs, targets and weights of an element, as trees of NumPy arrays or lists.

    `like` are those of the first element; None for the first one itself.
    """
    if not isinstance(element, list | tuple) or len(element) not in (2, 3):
        held = f"a {type(element).__name__}" + (f" of {len(element)}" if isinstance(element, list | tuple) else "")
        if isinstance(element, Mapping):
            held = f"a dictionary of {', '.join(map(repr, element))}"
        raise InputError(KEY, f"{source}: an element of the loader is {held}; {remedy_for_element(element)}")
    inputs, given = element[0], targets_of(element[1], element[0], like and like[1], source)
    if given is None:
        raise InputError(KEY, f"{source}: the targets of an element of the loader are None; give (x, y)")
    targets = _arrays(given)
    one = next(iter(targets.values())) if isinstance(targets, dict) else targets
    if isinstance(inputs, list) and are_arrays(inputs) and _are_several(inputs, len(np.atleast_1d(one))):
        inputs = tuple(inputs)
    if isinstance(inputs, Mapping):
        tree: Any = {name: _array(each) for name, each in inputs.items()}
    else:
        tree = tuple(map(_array, inputs)) if isinstance(inputs, tuple) else _array(inputs)
    weights = weights_of(element[2], targets) if len(element) == 3 else None
    return [tree, targets, *([] if weights is None else [_arrays(weights)])]


def _arrays(given: Any) -> Any:
    """Return an array, or a dictionary of several by name."""
    return {name: _array(each) for name, each in given.items()} if isinstance(given, dict) else _array(given)


def _are_several(arrays: list[Any], rows: int) -> bool:
    """True for inputs in order, each with all rows of a batch; as many alike arrays as there are rows are the rows."""
    shapes = {tuple(each.shape) for each in arrays}
    return {shape[0] for shape in shapes} == {rows} and (len(arrays) != rows or len(shapes) > 1)


def _array(value: Any) -> Any:
    """Return a tensor as an array; a ragged one as a list of rows."""
    if hasattr(value, "to_list") and hasattr(value, "row_splits"):
        return [_plain(row) for row in value.to_list()]
    if callable(getattr(value, "detach", None)):  # of PyTorch
        value = value.detach().cpu()
    if callable(getattr(value, "numpy", None)):
        value = value.numpy()
    return [_plain(row) for row in value] if isinstance(value, list) and _is_uneven(value) else _plain(value)


def _plain(value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except ValueError as error:  # of no one shape
        problem = "an element of the loader holds lists of different lengths within a row"
        raise InputError(KEY, f"{problem}; give rows of numbers of one shape beside their first length") from error


def _is_uneven(rows: list[Any]) -> bool:
    return len({len(row) for row in rows if isinstance(row, list | tuple | np.ndarray)}) > 1


def _row_digests(parts: list[Any]) -> list[bytes]:
    arrays = [array for _, array in leaves_of(parts)]
    return [
        hashlib.blake2b(b" ".join(bytes_of(array[row]) for array in arrays), digest_size=16).digest()
        for row in range(len(arrays[-1]))
    ]


def _all_digests(elements: Iterable[Any], are_batched: bool, parts_of: Callable[[Any], list[Any]]) -> list[bytes]:
    digests: list[bytes] = []
    for element in elements:
        parts = parts_of(element)
        if are_batched:
            digests += _row_digests(parts)
        else:
            leaves = [array for _, array in leaves_of(parts)]
            digests.append(hashlib.blake2b(b" ".join(map(bytes_of, leaves)), digest_size=16).digest())
    return digests


def _sorted_rows(parts: list[Any], again: list[bytes], source: str) -> tuple[list[Any], str]:
    """Return rows that come in another order each time sorted by their content; InputError if they change."""
    digests = _row_digests(parts)
    if sorted(digests) != sorted(again):
        remedy = "augment in the model, by layers such as keras.layers.RandomFlip"
        raise InputError(KEY, f"{source}: the rows of the loader are others each time that it is read; {remedy}")
    order = sorted(range(len(digests)), key=digests.__getitem__)

    def ordered(rows: Any) -> Any:
        if isinstance(rows, dict):
            return {name: ordered(each) for name, each in rows.items()}
        return [rows[place] for place in order] if isinstance(rows, list) else rows[np.array(order)]

    inputs = parts[0]
    if isinstance(inputs, dict):
        tree: Any = {name: ordered(each) for name, each in inputs.items()}
    else:
        tree = tuple(map(ordered, inputs)) if isinstance(inputs, tuple) else ordered(inputs)
    said = "its rows come in another order each time, and are sorted by their content; shuffle=False keeps an order"
    return [tree, *map(ordered, parts[1:])], f"{source}: {said}"
