"""Feeds: pass an epoch's batches, or their micro-batches, to `model.fit`."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol

import keras
import numpy as np
import numpy.typing as npt

from nightune.models.serving.input_trees import ArrayTree, arrays_of, in_memory, map_arrays, rows_of

Indices = npt.NDArray[np.int32]
Batch = tuple[Any, ...]  # inputs, targets and, of weighted rows, weights

AHEAD = 4  # batches held in memory beside the one in training


class Feed(Protocol):
    """Makes the arguments of `fit` for the examples in an order, in batches of given sizes.

    `weights` are those of all rows, (rows,) float32, for a feed of weighted rows, and None for others.
    """

    def arguments(self, order: Indices, sizes: Indices, weights: np.ndarray | None = None) -> Mapping[str, Any]:
        """Return keyword arguments of `model.fit`; they invalidate those of an earlier epoch."""


def make_feed(inputs: ArrayTree, targets: np.ndarray, is_weighted: bool = False) -> Feed:
    """Choose a feed by backend and by where the data is; all feeds give the same batches."""
    if any(isinstance(array, np.memmap) for array in arrays_of(inputs)):
        return StreamFeed(inputs, targets)
    if keras.backend.backend() == "tensorflow":
        return TensorFlowFeed(inputs, targets, is_weighted)
    return ArrayFeed(inputs, targets)


class ArrayFeed:
    """Arrays in the epoch's order, for batches of one size; mixed sizes are passed batch by batch."""

    def __init__(self, inputs: ArrayTree, targets: np.ndarray) -> None:
        self._inputs, self._targets = inputs, targets
        self._by_batch = BatchFeed(inputs, targets)

    def arguments(self, order: Indices, sizes: Indices, weights: np.ndarray | None = None) -> Mapping[str, Any]:
        """Return permuted copies of the arrays."""
        if not _is_one_size(sizes):
            return self._by_batch.arguments(order, sizes, weights)
        return {
            "x": rows_of(self._inputs, order),
            "y": self._targets[order],
            **({} if weights is None else {"sample_weight": weights[order]}),
            "batch_size": int(sizes[0]),
            "shuffle": False,
        }


class BatchFeed:
    """One batch at a time, taken from the arrays on demand: for mixed sizes."""

    def __init__(self, inputs: ArrayTree, targets: np.ndarray) -> None:
        self._inputs, self._targets = inputs, targets

    def arguments(self, order: Indices, sizes: Indices, weights: np.ndarray | None = None) -> Mapping[str, Any]:
        """Return a new sequence: Keras assumes that the length of one never changes."""
        cut = partial(_cut, self._inputs, self._targets, weights)
        return {"x": _Batches(cut, np.split(order, np.cumsum(sizes)[:-1])), "shuffle": False}


class StreamFeed:
    """Batches of data on disk: the next ones are read in the background during training."""

    def __init__(self, inputs: ArrayTree, targets: np.ndarray) -> None:
        self._inputs, self._targets = inputs, targets
        self._reader = ThreadPoolExecutor(1, "nightune-reader")
        self._batches: _ReadAhead | None = None

    def arguments(self, order: Indices, sizes: Indices, weights: np.ndarray | None = None) -> Mapping[str, Any]:
        """Return a new sequence; cancel the reads of an epoch that ended early."""
        if self._batches is not None:
            self._batches.cancel()
        read = partial(_cut, self._inputs, self._targets, weights)
        self._batches = _ReadAhead(read, np.split(order, np.cumsum(sizes)[:-1]), self._reader)
        return {"x": self._batches, "shuffle": False}


class TensorFlowFeed:
    """One tf.data pipeline for all trials, which reads order, sizes and weights from variables as an epoch starts.

    A new pipeline for every epoch, as `fit` creates it for arrays, costs as much as 30 updates of a small model.
    """

    def __init__(self, inputs: ArrayTree, targets: np.ndarray, is_weighted: bool = False) -> None:
        import tensorflow  # noqa: PLC0415 - only where it is the backend

        with tensorflow.device("CPU:0"):  # pipelines run on the CPU
            self._order = tensorflow.Variable(np.zeros(0, np.int32), shape=[None])
            self._ends = tensorflow.Variable(np.zeros(0, np.int32), shape=[None])
            self._weights = tensorflow.Variable(np.zeros(0, np.float32), shape=[None]) if is_weighted else None
            self._pipeline = self._make_pipeline(tensorflow, inputs, targets)

    def arguments(self, order: Indices, sizes: Indices, weights: np.ndarray | None = None) -> Mapping[str, Any]:
        """Write order, sizes and weights into the variables."""
        self._order.assign(order)
        if self._weights is not None:
            self._weights.assign(weights)
        self._ends.assign(np.cumsum(sizes, dtype=np.int32))
        return {"x": self._pipeline, "steps_per_epoch": len(sizes), "shuffle": False}

    def _make_pipeline(self, tensorflow: Any, inputs: ArrayTree, targets: np.ndarray) -> Any:
        all_inputs, all_targets = map_arrays(tensorflow.constant, inputs), tensorflow.constant(targets)

        def bounds(_: Any) -> Any:
            ends = self._ends.read_value()
            starts = tensorflow.concat([[0], ends[:-1]], axis=0)
            return tensorflow.data.Dataset.from_tensor_slices((starts, ends))

        def cut(start: Any, end: Any) -> tuple[Any, ...]:
            indices = self._order.read_value()[start:end]
            weights = [] if self._weights is None else [self._weights.read_value()]
            arrays = (all_inputs, all_targets, *weights)
            return tuple(map_arrays(lambda array: tensorflow.gather(array, indices), each) for each in arrays)

        # Both have no control flow of Python: to convert their code would take 0.2 s.
        as_written = tensorflow.autograph.experimental.do_not_convert
        return tensorflow.data.Dataset.range(1).flat_map(as_written(bounds)).map(as_written(cut)).prefetch(2)


class _Batches(keras.utils.PyDataset):
    def __init__(self, cut: Callable[[np.ndarray], Batch], indices: list[np.ndarray]) -> None:
        super().__init__()
        self._cut, self._indices = cut, indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Batch:
        return self._cut(self._indices[index])


class _ReadAhead(keras.utils.PyDataset):
    """Batches by index; another thread reads the next AHEAD batches in advance."""

    def __init__(
        self, read: Callable[[np.ndarray], Batch], indices: list[np.ndarray], reader: ThreadPoolExecutor
    ) -> None:
        super().__init__()
        self._read, self._indices, self._reader = read, indices, reader
        self._coming: dict[int, Future[Batch]] = {}

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Batch:
        for number in range(index, min(len(self), index + 1 + AHEAD)):
            if number not in self._coming:
                self._coming[number] = self._reader.submit(self._read, self._indices[number])
        return self._coming.pop(index).result()

    def cancel(self) -> None:
        """Cancel the reads that are no longer needed."""
        for batch in self._coming.values():
            batch.cancel()
        self._coming.clear()


def _cut(inputs: ArrayTree, targets: np.ndarray, weights: np.ndarray | None, indices: np.ndarray) -> Batch:
    batch = in_memory(rows_of(inputs, indices)), targets[indices]
    return batch if weights is None else (*batch, weights[indices])


def _is_one_size(sizes: np.ndarray) -> bool:
    """True if all batches have the size of the first, except for a smaller last one."""
    return bool(np.all(sizes[:-1] == sizes[0]) and sizes[-1] <= sizes[0])
