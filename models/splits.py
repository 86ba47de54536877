"""Which rows train, which rank the trials, and which stay sealed until the end."""

import math
from dataclasses import dataclass

import numpy as np

from models.errors import InputError, unknown_name
from models.examples import SPLITS

KINDS = ("random", "stratified", "group", "time")


@dataclass(frozen=True)
class Split:
    """How to split: the shares of validation and test, and the column of a group or time split.

    Without a kind, classes are stratified and quantities are split at random. Without a seed, the caller's counts.
    """

    kind: str | None = None
    validation: float = 0.2
    test: float = 0.2
    column: str | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in KINDS:
            raise InputError("data.split.kind", unknown_name(self.kind, KINDS))
        for name in ("validation", "test"):
            share = getattr(self, name)
            if not 0 < share < 1:
                raise InputError(f"data.split.{name}", f"{share!r} is out of range (allowed: a share above 0, below 1)")
        if self.validation + self.test >= 1:
            raise InputError(
                "data.split", f"validation {self.validation} and test {self.test} leave nothing to train on"
            )
        if self.kind in ("group", "time") and self.column is None:
            raise InputError("data.split.column", f"a {self.kind} split needs the name of its column")
        if self.kind not in ("group", "time") and self.column is not None:
            raise InputError("data.split.column", f"{self.column!r} counts only for kind 'group' or 'time'")


@dataclass(frozen=True, eq=False)
class Rows:
    """The row numbers of each split: every row in exactly one, none of them empty."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    findings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in SPLITS:
            if len(getattr(self, name)) == 0:
                key = "data.split" if name == "train" else f"data.split.{name}"
                count = sum(len(getattr(self, split)) for split in SPLITS)
                raise InputError(key, f"the {name} split gets none of {count} rows; give a larger share, or more rows")


def split_rows(split: Split, targets: np.ndarray, keys: np.ndarray | None) -> Rows:
    """Split by the kind that the split names; `targets` are class indices where it is stratified.

    `keys` are the groups of a group split and the times of a time split, one a row.
    """
    seed = split.seed or 0
    if split.kind == "stratified":
        return stratified_rows(targets, split, seed)
    if split.kind == "group" and keys is not None:
        return group_rows(keys, split, seed)
    if split.kind == "time" and keys is not None:
        return time_rows(keys, split)
    assert split.kind == "random"  # the caller settled the kind, and read the column that it needs
    return random_rows(len(targets), split, seed)


def random_rows(count: int, split: Split, seed: int) -> Rows:
    """Split by chance alone."""
    return _cut(np.random.default_rng(seed).permutation(count), split)


def stratified_rows(classes: np.ndarray, split: Split, seed: int) -> Rows:
    """Split so that every split has nearly the same shares of the classes; sizes are those of a random split.

    The rows of each class, shuffled, are spread evenly over [0, 1]; the line is cut where the splits end.
    """
    order = np.random.default_rng(seed).permutation(len(classes))
    shuffled = classes[order]
    _, inverse, counts = np.unique(shuffled, return_inverse=True, return_counts=True)
    by_class = np.argsort(inverse, kind="stable")
    rank = np.empty(len(classes), dtype=np.int64)
    rank[by_class] = np.arange(len(classes)) - np.repeat(np.cumsum(counts) - counts, counts)
    position = (rank + 0.5) / counts[inverse]
    return _cut(order[np.argsort(position, kind="stable")], split)


def group_rows(groups: np.ndarray, split: Split, seed: int) -> Rows:
    """Split so that the rows of one group stay together; sizes as near to the shares as whole groups allow.

    The groups go, largest first and by chance among equals, to the split that is the least full.
    """
    names, inverse, counts = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) < len(SPLITS):
        raise InputError(
            "data.split.column",
            f"{split.column!r} holds {len(names)} groups; at least 3 are needed, one for each split",
        )
    shuffled = np.random.default_rng(seed).permutation(len(names))
    wanted = [share * len(groups) for share in (1 - split.validation - split.test, split.validation, split.test)]
    filled = [0, 0, 0]
    home = np.empty(len(names), dtype=np.int64)
    for group in shuffled[np.argsort(-counts[shuffled], kind="stable")]:
        home[group] = min(range(3), key=lambda index: filled[index] / wanted[index])
        filled[home[group]] += int(counts[group])
    home_of_row = home[inverse]
    return Rows(*(np.flatnonzero(home_of_row == index) for index in range(3)))


def time_rows(times: np.ndarray, split: Split) -> Rows:
    """Split by age: the oldest rows train, the newest test. Rows of the same time stay together where they can."""
    order = np.argsort(times, kind="stable")
    test, validation = _sizes(len(times), split)
    wanted = (len(times) - test - validation, len(times) - test)
    edges = np.flatnonzero(np.diff(times[order])) + 1  # where the time changes
    if len(edges) >= 2:
        first, second = _nearest_pair(edges, wanted)
        return Rows(order[:first], order[first:second], order[second:])
    count = f"{len(edges) + 1} different {'times' if len(edges) else 'time'}"
    finding = f"split: column {split.column!r} holds {count}, so rows of the same time are in two splits"
    return Rows(order[: wanted[0]], order[wanted[0] : wanted[1]], order[wanted[1] :], (finding,))


def _nearest_pair(edges: np.ndarray, wanted: tuple[int, int]) -> tuple[int, int]:
    """Two different edges, in order, that are together nearest to the wanted cuts."""
    first, second = (int(np.argmin(np.abs(edges - cut))) for cut in wanted)
    pairs = [(first, second), (first - 1, second), (first, second + 1)]
    pairs = [(low, high) for low, high in pairs if 0 <= low < high < len(edges)]
    low, high = min(pairs, key=lambda pair: abs(edges[pair[0]] - wanted[0]) + abs(edges[pair[1]] - wanted[1]))
    return int(edges[low]), int(edges[high])


def _cut(order: np.ndarray, split: Split) -> Rows:
    test, validation = _sizes(len(order), split)
    parts = np.split(order, [test, test + validation])
    return Rows(train=np.sort(parts[2]), validation=np.sort(parts[1]), test=np.sort(parts[0]))


def _sizes(count: int, split: Split) -> tuple[int, int]:
    """The rows of test and validation; halves are rounded up."""
    return math.floor(count * split.test + 0.5), math.floor(count * split.validation + 0.5)
