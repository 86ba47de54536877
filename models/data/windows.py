"""Find rows that are overlapping windows of a series: a random split of them tests on values that were trained on."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from nightune.models.data.inputs import Inputs
from nightune.models.data.splits import Rows, Split
from nightune.models.errors import InputError
from nightune.models.serving.input_trees import arrays_of

FEWEST_ROWS = 20
MOST_NUMBERS = 2**25  # of the rows that are compared, the first ones
QUERIES = 500  # rows that are searched among the others
MOST_KEPT = 2**22  # pieces whose hashes are kept
MOST_CHANNELS, MOST_PLACES = 8, 64
LENGTHS = (1, 2, 3, 4, 8, 16, 32, 64)  # of the pieces of rows that are compared, in steps
FEWEST_NUMBERS = 3  # in a piece
CHANGES = 3  # from one number of a piece to the next, at least, or all of a shorter piece
DISTINCT = 0.95  # share of different pieces among different rows; equal ones are then no chance
HALF, QUARTER = 0.5, 0.25  # share of numbers that two rows of arrays, or of a table with other columns, hold in common
SHARED = 0.25  # share of rows with a piece of another row at another place


@dataclass(frozen=True)
class Overlap:
    """The share of rows that hold a piece of another row, shifted along an axis of the inputs with so many steps."""

    share: float
    shift: int
    steps: int


def overlap_findings(inputs: Inputs, rows: Rows, split: Split) -> list[str]:
    """Refuse to split overlapping windows at random, unless the study allows it; say so where it is allowed.

    A time split without a gap is reported: windows at both sides of its cuts overlap.
    """
    is_random = split.kind in ("random", "stratified") or bool(rows.drawn)
    if not is_random and (split.kind != "time" or split.gap):
        return []
    overlap = find_overlap(inputs)
    if overlap is None:
        return []
    said = (
        f"{overlap.share:.0%} of the rows hold values of another row, shifted by {overlap.shift}: they look like "
        "overlapping windows of a series"
    )
    gap = f"gap = the steps of a window (at most {overlap.steps}) plus how far its target looks ahead"
    if not is_random:
        return [f"split: {said}; those at both sides of a cut share values: set a gap in [data] split, {gap}"]
    if split.allow_overlap:
        return [f"split: {said}, and are split at random as the study allows"]
    problem = f"{said}, and a random split tests on values of training rows"
    raise InputError("data.split.kind", f"{problem}; {_remedy(inputs, rows.drawn, gap)}")


def _remedy(inputs: Inputs, drawn: tuple[str, ...], gap: str) -> str:
    intended = "set allow_overlap = true in [data] split if this is intended"
    if drawn:
        return f"name the rows of {' and '.join(drawn)} as well, or {intended}"
    if inputs.preprocessing is not None:
        time, apart = 'kind = "time" with a column and a gap', 'kind = "group" or "fixed" with a column'
    else:
        time, apart = 'kind = "time" with a gap (rows in order of time)', 'an array "group" or "part" beside x and y'
    return f"use {time}, {gap}; or {apart}; or {intended}"


def find_overlap(inputs: Inputs) -> Overlap | None:
    """Search pieces of some rows at other places of other rows, along each axis.

    None if they are rare, or may be equal by chance, as in columns of few values.
    """
    least = HALF if inputs.preprocessing is None else QUARTER
    for steps in _series(inputs):
        overlap = _find_along(steps, least) if steps.shape[1] > 1 and len(steps) >= FEWEST_ROWS else None
        if overlap:
            return overlap
    return None


def _series(inputs: Inputs) -> Iterator[np.ndarray]:
    """Yield the rows as (rows, steps, channels) for each array and each axis that may be the one of steps."""
    if inputs.preprocessing is not None:
        numbers = [values for values in inputs.columns.values() if values.dtype.kind in "fiu"]
        if numbers:
            yield np.column_stack(numbers)[: _row_count(len(numbers)), :, None]
        return
    for values in arrays_of(inputs.values):
        for axis in range(1, values.ndim):
            moved = np.moveaxis(values, axis, 1)
            channels = int(np.prod(moved.shape[2:]))
            chosen = np.unique(np.linspace(0, channels - 1, MOST_CHANNELS).astype(int))
            head = moved[: _row_count(moved.shape[1] * channels)]
            yield head.reshape(*head.shape[:2], channels)[:, :, chosen]


def _row_count(numbers: int) -> int:
    return max(2000, MOST_NUMBERS // numbers)


def _find_along(steps: np.ndarray, least: float) -> Overlap | None:
    bits = np.ascontiguousarray(steps + 0.0 if steps.dtype.kind == "f" else steps)
    bits = bits.view(f"u{bits.dtype.itemsize}").astype(np.uint64)
    count, length, channels = bits.shape
    hashes = _hashes(bits[:, np.unique(np.linspace(0, length - 1, MOST_PLACES).astype(int))])
    whole = np.unique(hashes, return_inverse=True)[1]
    queries = np.sort(np.random.default_rng(0).permutation(count)[:QUERIES])
    is_flat = channels == 1
    places = np.unique(np.linspace(0, length - 1, MOST_PLACES).astype(int)) if is_flat else np.array([0])
    asked = _Asked(bits, queries)
    for place in places:
        index = _index(bits, int(place), whole)
        found = None if index is None else _matches(asked, index, least)
        if found is not None:
            return Overlap(*found, steps=length)
    return None


@dataclass(frozen=True, eq=False)
class _Index:
    """The pieces of all rows at one place, sorted, with the rows that hold them."""

    hashes: np.ndarray
    rows: np.ndarray
    place: int
    length: int


def _index(bits: np.ndarray, place: int, whole: np.ndarray) -> _Index | None:
    """Index the shortest pieces at a place that tell rows apart, as numbers of `whole` rows do; None if none does."""
    for length in LENGTHS:
        if place + length > bits.shape[1] or length >= bits.shape[1]:
            return None
        if length * bits.shape[2] < min(FEWEST_NUMBERS, max(2, bits.shape[1] - 1) * bits.shape[2]):
            continue
        pieces = bits[:, place : place + length]
        rows = np.flatnonzero(_vary(pieces))
        if len(rows) < SHARED * len(bits):
            continue
        hashes, first = np.unique(_hashes(pieces[rows]), return_index=True)
        if len(hashes) >= DISTINCT * np.count_nonzero(np.bincount(whole[rows])):
            return _Index(hashes, rows[first], place, length)
    return None


class _Asked:
    """The rows that are searched among the others, and their pieces: where they are few, hashed once for all places."""

    def __init__(self, bits: np.ndarray, queries: np.ndarray) -> None:
        self.bits, self.queries, self.rows = bits, queries, bits[queries]
        self._pieces: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}
        self._together: dict[int, np.ndarray] = {}

    def starts(self, index: _Index) -> np.ndarray:
        """Return where the asked rows may have pieces of the index: most starts, of most data, are out of question.

        A table of the last bits of its hashes, in which three of a hundred places are taken, answers for all of them.
        """
        starts = np.arange(self.rows.shape[1] - index.length + 1)
        if len(starts) * len(self.queries) > MOST_KEPT:
            return starts
        if index.length not in self._together:
            self._together[index.length] = np.array([self.pieces(int(start), index.length)[0] for start in starts])
        table = np.zeros(1 << (32 * len(index.hashes)).bit_length(), dtype=bool)
        last_bits = np.uint64(len(table) - 1)
        table[index.hashes & last_bits] = True
        found = np.count_nonzero(table[self._together[index.length] & last_bits], axis=1)
        possible: np.ndarray = starts[found >= SHARED * len(self.queries)]
        return possible

    def pieces(self, start: int, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the hash of each row's piece, and whether it varies."""
        if (known := self._pieces.get((start, length))) is not None:
            return known
        pieces = self.rows[:, start : start + length]
        found = _hashes(pieces), _vary(pieces)
        if len(self._pieces) * len(self.queries) < MOST_KEPT:
            self._pieces[start, length] = found
        return found


def _matches(asked: _Asked, index: _Index, least: float) -> tuple[float, int] | None:
    """Return the largest share of asked rows with a piece of another row at one other place, and the least shift.

    More than a share `least` of the numbers of both rows must agree: pairs of items share half, and are no windows.
    """
    rows, queries = asked.rows, asked.queries
    shares: dict[int, float] = {}
    for start in asked.starts(index).tolist():
        if start == index.place:
            continue
        hashes, vary = asked.pieces(start, index.length)
        near = np.minimum(np.searchsorted(index.hashes, hashes), len(index.hashes) - 1)
        is_other = (index.hashes[near] == hashes) & (index.rows[near] != queries) & vary
        if np.count_nonzero(is_other) < SHARED * len(queries):
            continue
        share = len(np.unique(hashes[is_other])) / len(queries)
        shift = start - index.place
        if share >= SHARED and _agreement(rows[is_other], asked.bits[index.rows[near[is_other]]], shift) > least:
            shares[abs(shift)] = max(shares.get(abs(shift), 0.0), share)
    return (max(shares.values()), min(shares)) if shares else None


def _agreement(asked: np.ndarray, others: np.ndarray, shift: int) -> float:
    """Return the share of a row's numbers that another row holds so many steps before."""
    later, earlier = (asked, others) if shift > 0 else (others, asked)
    equal = later[:, abs(shift) :] == earlier[:, : -abs(shift)]
    return float(np.count_nonzero(equal)) / asked.size


def _vary(pieces: np.ndarray) -> np.ndarray:
    """Return which pieces change often enough to be no chance: one 1 among zeros is found in many tables."""
    flat = pieces.reshape(len(pieces), int(np.prod(pieces.shape[1:])))
    vary: np.ndarray = np.count_nonzero(flat[:, 1:] != flat[:, :-1], axis=1) >= min(CHANGES, flat.shape[1] - 1)
    return vary


def _hashes(pieces: np.ndarray) -> np.ndarray:
    """Hash each row's numbers in their order, with wrap-around."""
    flat = pieces.reshape(len(pieces), int(np.prod(pieces.shape[1:])))
    hashes = np.zeros(len(flat), dtype=np.uint64)
    for column in flat.T:
        hashes = (hashes ^ column) * np.uint64(0x9E3779B97F4A7C15)
        hashes ^= hashes >> np.uint64(29)
    return hashes
