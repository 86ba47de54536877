"""Weights of test rows for the bootstrap and the jackknife: whole groups, and the same number of rows of each class."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Weights = npt.NDArray[np.float64]  # (resamples, rows): how often a row is in a resample
Codes = npt.NDArray[np.int64]

CHUNK_CELLS = 1_000_000  # of weights at a time: 8 MB
BLOCKS = 200  # of the jackknife, over all strata
FEWEST_BLOCKS = 20  # of a stratum, if it has so many rows; with many classes fewer
ATTEMPTS = 10  # resamples that are drawn for one that holds every class


@dataclass(frozen=True, eq=False)
class TestRows:
    """How the test rows are resampled. Rows of one group stay together; a resample holds each class.

    `groups` and `classes` are (rows,) integers, None where rows are independent or targets are quantities. `weights`
    are (rows,) from 0, None if all rows weigh the same: they multiply what is yielded here.
    """

    __test__ = False  # no test class of pytest

    count: int
    groups: Codes | None = None
    classes: Codes | None = None
    weights: npt.NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        for name, codes in (("groups", self.groups), ("classes", self.classes), ("weights", self.weights)):
            if codes is not None and codes.shape != (self.count,):
                raise ValueError(f"{name}: shape {codes.shape} (needed: ({self.count},))")

    @property
    def all(self) -> Weights:
        """The weights of all rows once, (1, rows)."""
        return np.ones((1, self.count)) if self.weights is None else self.weights[None]

    @property
    def are_plain(self) -> bool:
        """True for independent rows that weigh the same."""
        return self.groups is None and self.weights is None

    @property
    def unit_count(self) -> int:
        """The number of groups, or of rows where these are independent."""
        return len(self._strata)

    @cached_property
    def blocks(self) -> Codes:
        """The stratum of each block of the jackknife; a stratum of few rows or groups has a block for each."""
        _, sizes = self._by_stratum
        fewest = max(2, min(FEWEST_BLOCKS, 2 * BLOCKS // len(sizes)))
        wanted = np.maximum(fewest, BLOCKS * sizes // sizes.sum())
        return np.repeat(np.arange(len(sizes)), np.minimum(sizes, wanted))

    def bootstrap(self, generator: np.random.Generator, resamples: int) -> Iterator[Weights]:
        """Yield the weights of resamples, drawn with replacement within the classes, in chunks."""
        order, sizes = self._by_stratum
        starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
        spans = np.repeat(sizes, sizes)
        step, left = max(1, CHUNK_CELLS // self.count), resamples
        for _ in range(ATTEMPTS * -(-resamples // step)):
            draws = min(step, left)
            drawn = starts + (generator.random((draws, len(order))) * spans).astype(np.int64)
            cells = (order[drawn] + len(order) * np.arange(draws)[:, None]).ravel()
            units = np.bincount(cells, minlength=draws * len(order)).reshape(draws, len(order)).astype(np.float64)
            kept = self._with_each_class(self._of_rows(units))
            left -= len(kept)
            yield kept
            if left == 0:
                return

    def jackknife(self) -> Iterator[Weights]:
        """Yield the weights without each of the blocks, in chunks."""
        order, sizes = self._by_stratum
        counts = np.bincount(self.blocks, minlength=len(sizes))
        place = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # in its stratum
        block = np.empty(len(order), dtype=np.int64)
        block[order] = np.repeat(np.cumsum(counts) - counts, sizes) + place % np.repeat(counts, sizes)
        step = max(1, CHUNK_CELLS // self.count)
        for start in range(0, len(self.blocks), step):
            left_out = np.arange(start, min(start + step, len(self.blocks)))
            yield self._of_rows((block != left_out[:, None]).astype(np.float64))

    def _of_rows(self, units: Weights) -> Weights:
        rows = units if self.groups is None else units[:, self._units]
        return rows if self.weights is None else rows * self.weights

    def _with_each_class(self, weights: Weights) -> Weights:
        if self.groups is None or self.classes is None:
            return weights  # resampled within the classes
        held = [weights[:, self.classes == one].any(axis=1) for one in np.unique(self.classes)]
        return weights[np.all(held, axis=0)]

    @cached_property
    def _units(self) -> Codes:
        """The unit of each row, from 0."""
        if self.groups is None:
            return np.arange(self.count)
        return np.unique(self.groups, return_inverse=True)[1].astype(np.int64)

    @cached_property
    def _strata(self) -> Codes:
        """The stratum of each unit: the rarest of its classes, the one in the fewest units."""
        units = int(self._units.max()) + 1
        if self.classes is None:
            return np.zeros(units, dtype=np.int64)
        pairs = np.unique(np.stack([self._units, self.classes], axis=1), axis=0)
        labels, code, counts = np.unique(pairs[:, 1], return_inverse=True, return_counts=True)
        rank = np.argsort(np.argsort(counts, kind="stable"), kind="stable")
        strata = np.full(units, len(labels), dtype=np.int64)
        np.minimum.at(strata, pairs[:, 0], rank[code])
        return strata

    @cached_property
    def _by_stratum(self) -> tuple[Codes, Codes]:
        """The units in the order of their strata, and the number of units in each."""
        _, sizes = np.unique(self._strata, return_counts=True)
        return np.argsort(self._strata, kind="stable"), sizes.astype(np.int64)
