"""Collect the elements of a loader, one below the other: in memory, or in temporary files where they are large."""

import hashlib
import logging
import shutil
import tempfile
from typing import IO, Any

import numpy as np

from nightune.models.data.placement import gibibytes, place
from nightune.models.errors import InputError
from nightune.models.serving.input_trees import named_arrays

KEY = "data.source"
BATCHES = "batches"
FOR_EXAMPLES = 'if each element is one example, write loader = "examples" in [data]'
LEAST_FREE = 2**30  # bytes that stay free on the disk of temporary files
FEWEST_REPEATED = 8  # rows of the first batch, so that repeated batches are no chance
OTHERS = (".y", ".weight")  # the arrays of an element behind its inputs
PASSES = 4  # over the same batches, after which a loader of unknown length is endless
ENDS = "end it after one pass, such as by dataset.take(n), itertools.islice(batches, n) or a method __len__"
_KINDS = {"i": "numbers", "u": "numbers", "f": "numbers", "b": "booleans", "U": "texts", "S": "texts"}
logger = logging.getLogger("nightune")


class Columns:
    """The arrays of all elements, one below the other."""

    def __init__(self, source: str, count: int | None, form: str = "") -> None:
        """Collect elements of a form, "batches" or "examples"; an empty one is settled by the first element."""
        self._source, self._count, self.are_batched = source, count, form == BATCHES
        self._is_settled, self._doubt = bool(form), Doubt()
        self._columns: dict[str, _Column] = {}
        self._form: Any = None
        self._elements = 0
        self._period, self._is_compared = _Period(), False

    def add(self, parts: list[Any]) -> None:
        """Add an element; InputError if it is not like the first one, or if the elements repeat."""
        leaves = leaves_of(parts)
        if self._form is None:
            self._form = parts
            self._begin(parts, leaves)
        if [name for name, _ in leaves] != list(self._columns):
            problem = f"element {self._elements} of the loader has other arrays than the first"
            raise InputError(KEY, f"{self._source}: {problem}")
        self._refuse_repetition(leaves)
        if self.are_batched and not _have_as_many_rows([array for _, array in leaves]):
            shapes = ", ".join(f"{len(each)} rows" if isinstance(each, list) else str(each.shape) for _, each in leaves)
            problem = f"{self._source}: a batch of the loader has different numbers of rows ({shapes})"
            raise InputError(KEY, f"{problem}; {FOR_EXAMPLES}")
        for name, array in leaves:
            self._columns[name].add(array if self.are_batched else [array])
        if self.are_batched and not self._is_settled:
            self._doubt.add([array for _, array in leaves], parts[1])
        self._elements += 1

    def _begin(self, parts: list[Any], leaves: list[tuple[str, Any]]) -> None:
        if not self._is_settled:
            self.are_batched = not _is_vector(parts[0]) and _have_as_many_rows([array for _, array in leaves])
        self._is_compared = self._count is None and self.are_batched and len(leaves[0][1]) >= FEWEST_REPEATED
        size = sum(len(bytes_of(array)) for _, array in leaves)
        if self._count is not None:
            what = "batches" if self.are_batched else "examples"
            about = gibibytes(size * self._count)
            logger.info("reading %s %s of the loader, about %s …", f"{self._count:,}", what, about)
        is_on_disk = self._count is not None and place(size * self._count).is_on_disk
        self._columns = {name: _Column(self._source, is_on_disk) for name, _ in leaves}

    def _refuse_repetition(self, leaves: list[tuple[str, Any]]) -> None:
        """Refuse batches of unknown number that come over and over again."""
        if not self._is_compared:
            return
        period = self._period.next(hashlib.blake2b(b" ".join(bytes_of(array) for _, array in leaves)).digest())
        if period is not None:
            problem = f"its batches have come {PASSES} times, {period} at a time"
            raise InputError(KEY, f"{self._source} returned a loader, and {problem}; {ENDS}")

    def joined(self) -> list[Any]:
        """Return inputs, targets and weights of all rows."""
        if self._form is None:
            raise InputError(KEY, f"{self._source} returned a loader without any element")
        self._doubt.refuse_one_hot(self._source)
        held = {name: column.joined() for name, column in self._columns.items()}
        inputs = {name[2:]: array for name, array in held.items() if name.startswith("x ")}
        tree: Any = inputs if isinstance(self._form[0], dict) else tuple(inputs.values())
        single = not isinstance(self._form[0], dict | tuple)
        others = zip(OTHERS, self._form[1:], strict=False)
        return [tree[0] if single else tree, *(_rebuilt(word, form, held) for word, form in others)]

    def close(self) -> None:
        """Close the temporary files; arrays that are mapped to them stay."""
        for column in self._columns.values():
            column.close()

    def said(self) -> str:
        """Say what was read."""
        rows = next(iter(self._columns.values())).count
        how = f"{self._elements:,} batches" if self.are_batched else "single examples"
        size = gibibytes(sum(column.size for column in self._columns.values()))
        said = f"{self._source}: {rows:,} rows, {size}, are read once, as {how} of a loader"
        return f"{said}; {self._doubt.said}" if self.are_batched and self._doubt.said else said


class Doubt:
    """Whether elements that are read as batches may be examples: sequences or images with a target for each row."""

    def __init__(self) -> None:
        self._sizes: list[int] = []
        self._are_one_hot = True

    def add(self, arrays: list[Any], targets: Any) -> None:
        """Note the number of rows of an element, and whether its targets are a single 1 among zeros."""
        self._sizes.append(len(arrays[0]))
        values = targets if isinstance(targets, np.ndarray) and targets.dtype.kind in "biuf" else np.zeros(1)
        is_one_hot = values.ndim == 1 and len(values) > 2 and values.sum() == 1 and values.max() == 1
        self._are_one_hot = self._are_one_hot and bool(is_one_hot) and bool(np.isin(values, (0, 1)).all())

    def refuse_one_hot(self, source: str) -> None:
        """Refuse elements whose targets all are one-hot: those of one example, with as many classes as it has rows."""
        if self._are_one_hot and len(self._sizes) >= FEWEST_REPEATED:
            problem = f"{source}: each element of the loader has as many targets as rows, and a single 1 among them"
            remedy = 'write loader = "examples" in [data] if each is one example with a one-hot target, else "batches"'
            raise InputError(KEY, f"{problem}; {remedy}")

    @property
    def said(self) -> str:
        """How to state that they are examples; empty for batches, of which only the last one is smaller."""
        first, last = self._sizes[:-1], self._sizes[-1:]
        is_certain = bool(first) and len(set(first)) == 1 and last[0] < first[0]
        if is_certain or not self._sizes:
            return ""
        return FOR_EXAMPLES


class _Period:
    """Finds out whether a sequence is a few passes over its beginning (Knuth, Morris and Pratt, 1977)."""

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._borders = [-1]  # of each beginning, the length of the longest end that is a beginning, too

    def next(self, digest: bytes) -> int | None:
        """Add a digest; return the length of one pass once PASSES whole ones have come, and nothing else."""
        border = self._borders[-1]
        while border >= 0 and self._held[border] != digest:
            border = self._borders[border]
        self._held.append(digest)
        self._borders.append(border + 1)
        count = len(self._held)
        period = count - self._borders[-1]
        return period if count == PASSES * period else None


class _Column:
    """Rows of one array: in memory, or in a temporary file if they are large; lists of rows of different shapes."""

    def __init__(self, source: str, is_on_disk: bool) -> None:
        self._source = source
        self._held: list[Any] = []
        self._file: IO[bytes] | None = _temporary_file() if is_on_disk else None
        self._kind: np.dtype | None = None
        self._shape: tuple[int, ...] | None = None
        self.count, self.size = 0, 0

    def add(self, rows: Any) -> None:
        """Add some rows: an array, or a list of arrays."""
        self.count += len(rows)
        if isinstance(rows, list) and len({np.shape(row) for row in rows}) > 1:
            self._held.append(rows)
            self.size += sum(np.asarray(row).nbytes for row in rows)
            return
        array = np.asarray(rows)
        self.size += array.nbytes
        if self._file is None and array.dtype != object and self.size > 2**26 and place(self.size).is_on_disk:
            self._file = _temporary_file()
            held, self._held = self._held, []
            for each in held:
                self._write(np.asarray(each))
        if self._file is None:
            self._held.append(array)
        else:
            self._write(array)

    def _write(self, array: np.ndarray) -> None:
        assert self._file is not None
        if self._kind is None:
            self._kind, self._shape = array.dtype, array.shape[1:]
        if (array.dtype, array.shape[1:]) != (self._kind, self._shape):
            problem = f"rows of shape {array.shape[1:]} {array.dtype} after {self._shape} {self._kind}"
            raise InputError(KEY, f"{self._source}: the loader gives {problem}; give rows of one form")
        if shutil.disk_usage(tempfile.gettempdir()).free < LEAST_FREE + array.nbytes:
            problem = f"the loader has given {gibibytes(self.size)}, and the disk of temporary files is nearly full"
            raise InputError(KEY, f"{self._source}: {problem}; if it is endless, {ENDS}; else set TMPDIR")
        self._file.write(np.ascontiguousarray(array).tobytes())

    def _refuse_mixed_kinds(self) -> None:
        """Refuse numbers beside texts or booleans, and whole numbers that floats would not hold."""
        kinds = {_KINDS.get(np.asarray(row).dtype.kind, "objects"): None for each in self._held for row in _parts(each)}
        arrays = [each.dtype for each in self._held if isinstance(each, np.ndarray)]
        lost = {each.kind for each in arrays} == {"i", "u"} and np.result_type(*arrays).kind == "f"
        if len(kinds) > 1 or lost:
            held = "signed and unsigned numbers of 64 bits" if lost else " and ".join(kinds)
            raise InputError(KEY, f"{self._source}: elements of the loader hold {held} in one array; give one kind")

    def close(self) -> None:
        """Close the temporary file, if there is one."""
        if self._file is not None:
            self._file.close()

    def joined(self) -> Any:
        """Return all rows as one array, or as a list if their shapes differ."""
        if self._file is not None:
            assert self._kind is not None
            assert self._shape is not None
            self._file.flush()
            return np.memmap(self._file, self._kind, "r+", shape=(self.count, *self._shape))
        self._refuse_mixed_kinds()
        if any(isinstance(each, list) for each in self._held) or len({each.shape[1:] for each in self._held}) > 1:
            return [np.asarray(row) for each in self._held for row in each]
        return np.concatenate(self._held)


def _parts(held: Any) -> list[Any]:
    return held if isinstance(held, list) else [held]


def _is_vector(inputs: Any) -> bool:
    """True for one array of one dimension: the numbers of one example, as rows have at least one dimension each."""
    return isinstance(inputs, np.ndarray) and inputs.ndim == 1 and inputs.dtype.kind in "bfiu"


def _have_as_many_rows(arrays: list[Any]) -> bool:
    sizes = {len(array) if isinstance(array, list) or array.ndim else None for array in arrays}
    return len(sizes) == 1 and None not in sizes


def _temporary_file() -> IO[bytes]:
    """Open an unnamed file, which is deleted with the last array that is mapped to it."""
    return tempfile.TemporaryFile(prefix="nightune-")


def leaves_of(parts: list[Any]) -> list[tuple[str, Any]]:
    """Return the arrays of an element with names: those of inputs, then "y" and "weight" behind a dot.

    Several targets, and their weights, are dictionaries by name.
    """
    named = [(f"x {name}", each) for name, each in _named(parts[0])]
    for word, part in zip(OTHERS, parts[1:], strict=False):
        named += [(f"{word} {name}", each) for name, each in part.items()] if isinstance(part, dict) else [(word, part)]
    return named


def _rebuilt(word: str, form: Any, held: dict[str, Any]) -> Any:
    """Return the targets or weights of all rows in the form of the first element's."""
    return {name: held[f"{word} {name}"] for name in form} if isinstance(form, dict) else held[word]


def _named(tree: Any) -> list[tuple[str, Any]]:
    return [("", tree)] if isinstance(tree, list) else named_arrays(tree)


def are_equal(one: list[Any], other: list[Any]) -> bool:
    """True for two elements with the same arrays."""
    pairs = zip(leaves_of(one), leaves_of(other), strict=True)
    return all(bytes_of(first) == bytes_of(second) for (_, first), (_, second) in pairs)


def bytes_of(array: Any) -> bytes:
    """Return the content of an array, or of a list of rows."""
    rows = array if isinstance(array, list) else [array]
    return b" ".join(
        repr(np.asarray(row).tolist()).encode() if np.asarray(row).dtype == object else np.asarray(row).tobytes()
        for row in rows
    )
