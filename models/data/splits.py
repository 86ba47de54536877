"""Which rows train, which stop trainings, which rank the trials, and which stay sealed until the end."""

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from nightune.models.data.dataset import SPLITS
from nightune.models.errors import InputError, unknown_name

KINDS = ("random", "stratified", "group", "time")


@dataclass(frozen=True)
class Split:
    """How to split: the shares of validation, ranking and test, and the column of a group or time split.

    Without a kind, classes are stratified and quantities are split at random. Without a seed, the caller's counts. A
    ranking share of 0 lets the validation split rank the trials.
    """

    kind: str | None = None
    validation: float = 0.2
    test: float = 0.2
    column: str | None = None
    seed: int | None = None
    ranking: float = 0.0

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in KINDS:
            raise InputError("data.split.kind", unknown_name(self.kind, KINDS))
        for name in ("validation", "test"):
            share = getattr(self, name)
            if not 0 < share < 1:
                raise InputError(f"data.split.{name}", f"{share!r} is out of range (allowed: a share above 0, below 1)")
        if not 0 <= self.ranking < 1:
            problem = f"{self.ranking!r} is out of range (allowed: a share from 0, below 1)"
            raise InputError("data.split.ranking", problem)
        if self.train <= 0:
            given = [f"{name} {getattr(self, name)}" for name in self.names[1:]]
            raise InputError("data.split", f"{', '.join(given[:-1])} and {given[-1]} leave nothing to train on")
        if self.kind in ("group", "time") and self.column is None:
            raise InputError("data.split.column", f"a {self.kind} split needs the name of its column")
        if self.kind not in ("group", "time") and self.column is not None:
            raise InputError("data.split.column", f"{self.column!r} counts only for kind 'group' or 'time'")

    @property
    def train(self) -> float:
        """The share that is left to train on."""
        return 1.0 - self.validation - self.ranking - self.test

    @property
    def names(self) -> tuple[str, ...]:
        """The splits that get rows, in the order of a time split: oldest first."""
        return tuple(name for name in SPLITS if name != "ranking" or self.ranking > 0)


@dataclass(frozen=True, eq=False)
class Rows:
    """The row numbers of each split: every row in exactly one, none of them empty but for one without a share."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    findings: tuple[str, ...] = ()
    ranking: np.ndarray | None = None  # None: the validation rows rank

    def __post_init__(self) -> None:
        held = {name: rows for name in SPLITS if (rows := getattr(self, name)) is not None}
        for name, rows in held.items():
            if len(rows) == 0:
                key = "data.split" if name == "train" else f"data.split.{name}"
                count = sum(map(len, held.values()))
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
    homes = split.names
    if len(names) < len(homes):
        raise InputError(
            "data.split.column",
            f"{split.column!r} holds {len(names)} groups; at least {len(homes)} are needed, one for each split",
        )
    shuffled = np.random.default_rng(seed).permutation(len(names))
    wanted = [getattr(split, name) * len(groups) for name in homes]
    filled = [0] * len(homes)
    home = np.empty(len(names), dtype=np.int64)
    for group in shuffled[np.argsort(-counts[shuffled], kind="stable")]:
        home[group] = min(range(len(homes)), key=lambda index: filled[index] / wanted[index])
        filled[home[group]] += int(counts[group])
    home_of_row = home[inverse]
    rows: dict[str, Any] = {name: np.flatnonzero(home_of_row == index) for index, name in enumerate(homes)}
    return Rows(**rows)


def time_rows(times: np.ndarray, split: Split) -> Rows:
    """Split by age: the oldest rows train, the newest test. Rows of the same time stay together where they can."""
    order = np.argsort(times, kind="stable")
    sizes = _sizes(len(times), split)
    ends = [len(times) - sum(sizes[name] for name in split.names[cut:]) for cut in range(1, len(split.names))]
    edges = np.flatnonzero(np.diff(times[order])) + 1  # where the time changes
    findings: tuple[str, ...] = ()
    if len(edges) >= len(ends):
        ends = _nearest_cuts(edges, ends)
    else:
        count = f"{len(edges) + 1} different {'times' if len(edges) else 'time'}"
        said = "two splits" if len(ends) == 2 else "several splits"
        findings = (f"split: column {split.column!r} holds {count}, so rows of the same time are in {said}",)
    return Rows(**dict(zip(split.names, np.split(order, ends), strict=True)), findings=findings)


def _nearest_cuts(edges: np.ndarray, wanted: list[int]) -> list[int]:
    """Different edges, in order, that are together nearest to the wanted cuts."""
    choices = [range(max(near - 2, 0), min(near + 3, len(edges))) for near in _nearest(edges, wanted)]
    # With fewer edges than the windows hold, every edge is a choice, so that some choice is in order.
    choices = choices if len(edges) > 5 else [range(len(edges))] * len(wanted)
    ordered = [cuts for cuts in itertools.product(*choices) if all(a < b for a, b in itertools.pairwise(cuts))]
    best = min(ordered, key=lambda cuts: sum(abs(int(edges[cut]) - end) for cut, end in zip(cuts, wanted, strict=True)))
    return [int(edges[cut]) for cut in best]


def _nearest(edges: np.ndarray, wanted: list[int]) -> list[int]:
    return [int(np.argmin(np.abs(edges - cut))) for cut in wanted]


def _cut(order: np.ndarray, split: Split) -> Rows:
    """Test rows first, then validation: shares that are not asked for change nothing in those that are."""
    sizes = _sizes(len(order), split)
    names = [name for name in ("test", "validation", "ranking", "train") if name in split.names]
    parts = np.split(order, np.cumsum([sizes[name] for name in names[:-1]]))
    rows: dict[str, Any] = {name: np.sort(part) for name, part in zip(names, parts, strict=True)}
    return Rows(**rows)


def _sizes(count: int, split: Split) -> dict[str, int]:
    """The rows of each split but the training split, which gets the rest; halves are rounded up."""
    return {name: math.floor(count * getattr(split, name) + 0.5) for name in split.names[1:]}
