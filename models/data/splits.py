"""Assign the rows to splits: train, validation, ranking and test."""

import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nightune.models.data.dataset import SPLITS
from nightune.models.errors import InputError
from nightune.vocabulary import COLUMN_SPLIT_KINDS, SPAN, SPAN_SECONDS, SPLIT_KINDS, unknown_name

_DRAWN = ("test", "validation", "ranking")  # in the order in which rows are drawn for them


@dataclass(frozen=True)
class Split:
    """How to split: the shares of validation, ranking and test, and the column of a group, time or fixed split.

    Without a kind, classes are stratified and quantities are split at random. Arrays have keys of known names, so that
    the column is settled with the data. With a ranking share of 0, the
    validation split ranks the trials. Files of a fixed split stand in place of the shares of validation and test.
    """

    kind: str | None = None
    validation: float | str = 0.2
    test: float | str = 0.2
    column: str | None = None
    seed: int = 0
    ranking: float = 0.0
    gap: int | str = 0  # between the splits of a time split: a number of times, or a span such as "7 days"
    allow_overlap: bool = False  # of windows in a random split
    folds: int = 0  # of the rows outside the test split; 0: one validation split

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in SPLIT_KINDS:
            raise InputError("data.split.kind", unknown_name(self.kind, SPLIT_KINDS))
        for name in ("validation", "test"):
            share = self.share(name)
            if name not in self.files and not 0 < share < 1:
                raise InputError(f"data.split.{name}", f"{share!r} is out of range (allowed: a share above 0, below 1)")
        if not 0 <= self.ranking < 1:
            problem = f"{self.ranking!r} is out of range (allowed: a share from 0, below 1)"
            raise InputError("data.split.ranking", problem)
        self._refuse_gap()
        self._refuse_folds()
        if self.train <= 0:
            given = [f"{name} {getattr(self, name)}" for name in self.names[1:]]
            raise InputError("data.split", f"{', '.join(given[:-1])} and {given[-1]} leave nothing to train on")
        if self.files and (self.kind != "fixed" or self.column not in (None, "part")):
            problem = f'{", ".join(self.files.values())}: files need kind = "fixed", without a column'
            raise InputError(f"data.split.{next(iter(self.files))}", problem)
        if self.kind not in COLUMN_SPLIT_KINDS and self.column is not None:
            kinds = " or ".join(map(repr, COLUMN_SPLIT_KINDS))
            raise InputError("data.split.column", f"{self.column!r} counts only for kind {kinds}")

    def _refuse_gap(self) -> None:
        if self.gap and self.kind != "time":
            raise InputError("data.split.gap", f"{self.gap!r} is read only by a time split")
        if isinstance(self.gap, str):
            span_seconds(self.gap)
        elif self.gap < 0:
            raise InputError("data.split.gap", f"{self.gap!r} is out of range (allowed: whole numbers from 0)")

    def _refuse_folds(self) -> None:
        if self.folds < 0 or self.folds == 1:
            raise InputError("data.split.folds", f"{self.folds} is out of range (allowed: whole numbers from 2)")
        if self.folds and self.ranking:
            raise InputError("data.split.ranking", f"{self.ranking!r} is not read with folds, which rank the trials")
        if self.folds and self.kind == "fixed":
            remedy = 'remove folds, or set kind = "random", "stratified", "group" or "time"'
            raise InputError("data.split.folds", f"{self.folds} folds of a fixed split, which names its rows: {remedy}")

    @property
    def files(self) -> dict[str, str]:
        """The files that hold the validation and test rows of a fixed split, as far as given."""
        return {name: file for name in ("validation", "test") if isinstance(file := getattr(self, name), str)}

    def share(self, name: str) -> float:
        """The share of a split; 0 if its rows are in a file."""
        given = getattr(self, name)
        return 0.0 if isinstance(given, str) else float(given)

    @property
    def train(self) -> float:
        """The share of the training split: the rest."""
        return 1.0 - self.share("validation") - self.ranking - self.share("test")

    @property
    def names(self) -> tuple[str, ...]:
        """The splits with a share, in the order of a time split: oldest first."""
        return tuple(name for name in SPLITS if name != "ranking" or self.ranking > 0)


@dataclass(frozen=True, eq=False)
class FoldRows:
    """The row numbers that one fold trains and validates on; none is in both."""

    train: np.ndarray
    validation: np.ndarray


@dataclass(frozen=True, eq=False)
class Rows:
    """The row numbers of each split: no row is in two splits, and no split with a share is empty.

    Every row is in a split, but for those in the gaps of a time split. With folds, all rows outside the test split
    train, and the validation rows are those of the last fold.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    findings: tuple[str, ...] = ()
    ranking: np.ndarray | None = None  # None: the validation rows rank the trials
    drawn: tuple[str, ...] = ()  # the splits of a fixed split that were drawn at random
    folds: tuple[FoldRows, ...] = ()

    def __post_init__(self) -> None:
        held = {name: rows for name in SPLITS if (rows := getattr(self, name)) is not None}
        for name, rows in held.items():
            if len(rows) == 0:
                key = "data.split" if name == "train" else f"data.split.{name}"
                count = sum(map(len, held.values()))
                raise InputError(key, f"the {name} split gets none of {count} rows; set a larger share, or add rows")

    @property
    def trained(self) -> "tuple[Rows, ...]":
        """What trials train on: these rows, or those of each fold."""
        folds = (replace(self, train=fold.train, validation=fold.validation, folds=()) for fold in self.folds)
        return tuple(folds) or (self,)

    @property
    def apart(self) -> "Rows":
        """These rows with no row in two splits: with folds, those of the last one."""
        return self.trained[-1]


def split_rows(split: Split, targets: np.ndarray, keys: np.ndarray | None) -> Rows:
    """Split the rows by the kind of the split; `targets` are the strata (rows,) if it is stratified.

    `keys` are the groups of a group split, the times of a time split or the names of a fixed split, one per row.
    """
    if split.kind == "stratified":
        return stratified_rows(targets, split)
    if split.kind == "group" and keys is not None:
        return group_rows(keys, split)
    if split.kind == "time" and keys is not None:
        return time_rows(keys, split)
    if split.kind == "fixed" and keys is not None:
        return fixed_rows(keys, split, targets)
    assert split.kind == "random"  # the caller settled the kind, and read the column for it
    return random_rows(len(targets), split)


def random_rows(count: int, split: Split) -> Rows:
    """Split at random."""
    return _cut(np.random.default_rng(split.seed).permutation(count), split)


def stratified_rows(classes: np.ndarray, split: Split) -> Rows:
    """Split so that all splits have nearly the same class shares; sizes are those of a random split.

    The shuffled rows of each class are spread evenly over [0, 1], which is cut at the shares of the splits.
    """
    return _cut(_stratified_order(classes, split.seed), split)


def _stratified_order(classes: np.ndarray, seed: int) -> np.ndarray:
    order = np.random.default_rng(seed).permutation(len(classes))
    shuffled = classes[order]
    _, inverse, counts = np.unique(shuffled, return_inverse=True, return_counts=True)
    by_class = np.argsort(inverse, kind="stable")
    rank = np.empty(len(classes), dtype=np.int64)
    rank[by_class] = np.arange(len(classes)) - np.repeat(np.cumsum(counts) - counts, counts)
    position = (rank + 0.5) / counts[inverse]
    return order[np.argsort(position, kind="stable")]


def fixed_rows(parts: np.ndarray, split: Split, targets: np.ndarray) -> Rows:
    """Split by the names of splits, one per row; splits that no row names are drawn from the training rows.

    These get their shares of the training rows, in proportion where `targets` are classes (integers).
    """
    held = {name: np.flatnonzero(parts == name) for name in SPLITS}
    train = held["train"]
    if len(train) == 0:
        raise InputError("data.split", "no row is in the training split (train); name the rows to train on")
    drawn = [name for name in _DRAWN if len(held[name]) == 0 and split.share(name) > 0]
    has_classes = targets.dtype.kind == "i"
    order = (
        _stratified_order(targets[train], split.seed)
        if has_classes
        else np.random.default_rng(split.seed).permutation(len(train))
    )
    cut = _cut_parts(train[order], {name: split.share(name) for name in drawn})
    findings = [
        f"split: no row is in {name!r}; {len(cut[name])} of {len(train)} training rows are drawn for it at random"
        for name in drawn
    ]
    unused = {name: split.share(name) for name in _DRAWN if name not in drawn and split.share(name) not in (0, 0.2)}
    findings += [f"split: the share {name} {share} is not read: rows are in {name!r}" for name, share in unused.items()]
    rows = {name: rows for name, rows in {**held, **cut}.items() if name != "ranking" or len(rows) or name in drawn}
    return Rows(**rows, findings=tuple(findings), drawn=tuple(drawn))


def group_rows(groups: np.ndarray, split: Split) -> Rows:
    """Split so that the rows of one group stay together; sizes are as near to the shares as whole groups allow.

    Each group, largest first and in random order among equals, goes to the least full split.
    """
    names, inverse, counts = np.unique(groups, return_inverse=True, return_counts=True)
    homes = split.names
    if len(names) < len(homes):
        raise InputError(
            "data.split.column",
            f"{split.column!r} holds {len(names)} groups; at least {len(homes)} are needed, one per split",
        )
    shuffled = np.random.default_rng(split.seed).permutation(len(names))
    wanted = [split.share(name) * len(groups) for name in homes]
    filled = [0] * len(homes)
    home = np.empty(len(names), dtype=np.int64)
    for group in shuffled[np.argsort(-counts[shuffled], kind="stable")]:
        home[group] = min(range(len(homes)), key=lambda index: filled[index] / wanted[index])
        filled[home[group]] += int(counts[group])
    home_of_row = home[inverse]
    rows: dict[str, Any] = {name: np.flatnonzero(home_of_row == index) for index, name in enumerate(homes)}
    return Rows(**rows)


def span_seconds(span: str) -> float:
    """Return the seconds of a span such as "7 days"; InputError for other texts."""
    match = re.fullmatch(SPAN, span)
    if match is None:
        raise InputError("data.split.gap", f'{span!r} is no span (allowed: "7 days", "12 hours", "90 seconds" …)')
    return float(match[1]) * SPAN_SECONDS[match[2]]


def time_rows(times: np.ndarray, split: Split) -> Rows:
    """Split by age: the oldest rows train, the newest test. Rows of the same time stay together if possible."""
    if split.gap:
        return _time_rows_apart(times, split)
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
    parts: dict[str, Any] = dict(zip(split.names, np.split(order, ends), strict=True))
    return Rows(**parts, findings=findings)


def _time_rows_apart(times: np.ndarray, split: Split) -> Rows:
    """Leave rows out between the splits. All but the training split keep their shares; it pays for the gaps."""
    order = np.argsort(times, kind="stable")
    aged = times[order]
    starts = np.concatenate([[0], np.flatnonzero(np.diff(aged)) + 1])  # the first row of each time
    end = len(times)
    rows: dict[str, Any] = {}
    for name in reversed(split.names[1:]):
        choices = starts[starts < end]
        begin = int(choices[np.argmin(np.abs(choices - (end - _size(len(times), split.share(name)))))])
        rows[name] = order[begin:end]
        if isinstance(split.gap, str):
            end = int(np.searchsorted(aged, aged[begin] - span_seconds(split.gap), side="right"))
        else:
            end = int(starts[max(int(np.searchsorted(starts, begin)) - split.gap, 0)])
        if end == 0:
            problem = f"{split.gap!r} before the {name} split leaves no older rows; set a smaller gap or smaller shares"
            raise InputError("data.split.gap", problem)
    left = len(times) - end - sum(map(len, rows.values()))
    return Rows(train=order[:end], **rows, findings=(f"split: {left} rows in the gaps are in no split",))


def _nearest_cuts(edges: np.ndarray, wanted: list[int]) -> list[int]:
    """Choose distinct edges, in order, with the least total distance to the wanted cuts."""
    choices = [range(max(near - 2, 0), min(near + 3, len(edges))) for near in _nearest(edges, wanted)]
    # With fewer edges than a window holds, every edge is a choice, so that a choice in order exists.
    choices = choices if len(edges) > 5 else [range(len(edges))] * len(wanted)
    ordered = [cuts for cuts in itertools.product(*choices) if all(a < b for a, b in itertools.pairwise(cuts))]
    best = min(ordered, key=lambda cuts: sum(abs(int(edges[cut]) - end) for cut, end in zip(cuts, wanted, strict=True)))
    return [int(edges[cut]) for cut in best]


def _nearest(edges: np.ndarray, wanted: list[int]) -> list[int]:
    return [int(np.argmin(np.abs(edges - cut))) for cut in wanted]


def _cut(order: np.ndarray, split: Split) -> Rows:
    """Cut test rows first, then validation, so that adding a ranking share leaves these two unchanged."""
    return Rows(**_cut_parts(order, {name: split.share(name) for name in _DRAWN if name in split.names}))


def _cut_parts(order: np.ndarray, shares: Mapping[str, float]) -> dict[str, Any]:
    """Cut rows in an order into parts of the given shares, and train, the rest."""
    sizes = [_size(len(order), share) for share in shares.values()]
    parts = np.split(order, np.cumsum(sizes)) if sizes else [order]
    return {name: np.sort(part) for name, part in zip([*shares, "train"], parts, strict=True)}


def _sizes(count: int, split: Split) -> dict[str, int]:
    """Count the rows of each split except the training split, which gets the rest; halves are rounded up."""
    return {name: _size(count, split.share(name)) for name in split.names[1:]}


def _size(count: int, share: float) -> int:
    return math.floor(count * share + 0.5)
