"""Refuse ids that an embedding's table has no row for, before anything is trained.

TensorFlow stops at such an id on a CPU. On a GPU, and in programs of XLA, it reads zeros or the nearest row instead.
The model is called on the inputs of every split until its embeddings have their ids, whatever comes before them.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from nightune.models.data.dataset import Dataset, Examples, Purpose, SealedExamples
from nightune.models.errors import InputError
from nightune.models.library_internals.models import all_layers
from nightune.models.serving.input_trees import (
    ArrayTree,
    arrays_of,
    in_memory,
    is_several,
    named_arrays,
    row_count,
    rows_of,
)
from nightune.vocabulary import ARCHITECTURE

_NUMBERS_AT_ONCE = 2**18  # of inputs in one call of the model
_ONE_AT_A_TIME = threading.RLock()  # of the blocks in which Keras' class is replaced


class UnknownIdError(InputError):
    """An embedding has no row for an id of the data."""


@dataclass(frozen=True, eq=False)
class _Lookup:
    """The ids that an embedding was called with, in one call of the model."""

    layer: Any
    ids: np.ndarray


def refuse_ids_outside_tables(model: keras.Model, dataset: Dataset) -> None:
    """Raise an UnknownIdError with layer, split, example and id if an embedding has no row for an id of any split.

    A test split that is not here is not read.
    """
    embeddings = [layer for layer in all_layers(model) if isinstance(layer, keras.layers.Embedding)]
    if not embeddings:
        return
    calls = len(_lookups(model, embeddings, rows_of(dataset.train.inputs, slice(1)), None))
    if not calls:
        return
    numbers = sum(int(np.prod(shape)) for shape in arrays_of(dataset.input_shape))
    count = max(1, _NUMBERS_AT_ONCE // max(1, numbers))
    names = dataset.preprocessing.feature_names if dataset.preprocessing else ()
    for split, inputs in _splits(dataset):
        for start in range(0, row_count(inputs), count):
            some = in_memory(rows_of(inputs, slice(start, start + count)))
            for lookup in _lookups(model, embeddings, some, calls):
                _refuse_outside(lookup, some, split, start, names)


def _splits(dataset: Dataset) -> Iterator[tuple[str, ArrayTree]]:
    yield "training", dataset.train.inputs
    yield "validation", dataset.validation.inputs
    if dataset.ranking_apart is not None:
        yield "ranking", dataset.ranking_apart.inputs
    test: Examples | SealedExamples = dataset.test
    if not isinstance(test, SealedExamples):
        yield "test", test.inputs
    elif test.is_here:
        yield "test", test.open(Purpose.RANGE, lambda: None).inputs


class _EnoughError(Exception):
    """All ids are known: the rest of the model need not be computed."""


def _lookups(model: keras.Model, embeddings: Sequence[Any], inputs: ArrayTree, calls: int | None) -> list[_Lookup]:
    """Return what the embeddings look up for some inputs; stop at the given number of calls."""
    found: list[_Lookup] = []

    def note(layer: Any, ids: Any) -> None:
        found.append(_Lookup(layer, _as_ids(ids)))
        if len(found) == calls:
            raise _EnoughError

    with _ONE_AT_A_TIME, _noted(embeddings, note), suppress(_EnoughError):
        model(inputs, training=False)
    return found


@contextmanager
def _noted(embeddings: Sequence[Any], note: Any) -> Iterator[None]:
    """Have each embedding pass the ids of its calls to `note` before it looks them up.

    The class is replaced, not a layer's `call`: a subclass may change the ids before it calls Embedding's own.
    """
    noted = {id(layer) for layer in embeddings}
    thread = threading.get_ident()
    look_up = keras.layers.Embedding.call

    def call(layer: Any, inputs: Any, *values: Any, **options: Any) -> Any:
        if id(layer) not in noted or threading.get_ident() != thread:
            return look_up(layer, inputs, *values, **options)
        note(layer, inputs)
        # Ids outside the table would stop TensorFlow here, without the names of layer and example.
        inside = keras.ops.clip(keras.ops.cast(inputs, "int32"), 0, layer.input_dim - 1)
        return look_up(layer, inside, *values, **options)

    keras.layers.Embedding.call = call
    try:
        yield
    finally:
        keras.layers.Embedding.call = look_up


def _as_ids(values: Any) -> np.ndarray:
    """Return the ids as the layer reads them: as whole numbers, cut towards zero."""
    array = np.asarray(keras.ops.convert_to_numpy(values))
    return array if array.dtype.kind in "iu" else np.trunc(array.astype(np.float64))


def _refuse_outside(lookup: _Lookup, inputs: ArrayTree, split: str, start: int, names: Sequence[str]) -> None:
    ids, rows = lookup.ids, int(lookup.layer.input_dim)
    outside = np.argwhere(~((ids >= 0) & (ids < rows)))
    if not len(outside):
        return
    place = tuple(outside[0])
    found = _column(inputs, ids, place)
    known = "" if found is None else f", input {_named(found, names)}"
    is_of_features = bool(names) and not is_several(inputs)
    raise UnknownIdError(
        ARCHITECTURE,
        f"the Embedding layer {lookup.layer.name!r} has {rows} rows, for ids from 0 to {rows - 1}, but example "
        f"{start + int(place[0])} of the {split} split{known} has the id {ids[place]:.15g} "
        f"(ids from {np.nanmin(ids):.15g} to {np.nanmax(ids):.15g}): {_remedy(ids, is_of_features)}",
    )


def _remedy(ids: np.ndarray, is_table: bool) -> str:
    if is_table:
        return "numbers of a table are standardized; return ids as an array of whole numbers from a function"
    if not np.nanmin(ids) >= 0:
        return "number the ids from 0"
    return f"set input_dim to {np.nanmax(ids) + 1:.15g} or more, or use lower ids"


def _named(found: tuple[str, int], names: Sequence[str]) -> str:
    array, column = found
    return f"{array!r} {column}" if array else str(names[column] if names else column)


def _column(inputs: ArrayTree, ids: np.ndarray, place: tuple[int, ...]) -> tuple[str, int] | None:
    """Return which array and column of the inputs hold the id; None if that is not known.

    They are the layer's inputs, in their form, or one number of the example has this value.
    """
    arrays = named_arrays(inputs)
    alike = [(name, array) for name, array in arrays if array.shape == ids.shape and array.ndim in (1, 2)]
    same = [name for name, array in alike if len(arrays) == 1 or np.trunc(array[place]) == ids[place]]
    if len(same) == 1:
        return same[0], int((*place, 0)[1])
    if any(array.ndim > 2 for _, array in arrays):
        return None
    rows = [(name, np.atleast_1d(array[place[0]])) for name, array in arrays]
    equal = [(name, int(at)) for name, row in rows for at in np.flatnonzero(np.trunc(row) == ids[place])]
    return equal[0] if len(equal) == 1 else None
