"""Slices of held-out rows whose loss is higher than elsewhere by more than chance.

The largest difference among many slices is large by itself, so each is compared with the largest one of any slice after
the losses are permuted among the rows (Westfall, Young, 1993): for rows that are independent of each other, one data
set in twenty without any bad slice shows one. All rows weigh the same here: only equal ones can be permuted.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from nightune.tuning.analysis.held_out.summary import NAME_CHARACTERS, Slice
from nightune.tuning.analysis.value_text import value_text

Array = npt.NDArray[np.float64]

LEVEL = 0.05
PERMUTATIONS = 400
FEWEST_ROWS, FEWEST_SHARE = 10, 0.02  # of a slice
PARTS = 4  # of a range of numbers, of equal counts
MOST_SLICES = 300
MOST_ROWS = 20_000
SHOWN = 5
MISSING, UNKNOWN = "missing", "unknown"


@dataclass(frozen=True, eq=False)
class HeldColumn:
    """A column of the held-out rows: numbers with NaN for missing ones, dates as seconds since 1970, or texts."""

    name: str
    kind: str  # number, date or label
    values: np.ndarray  # (rows,)


@dataclass(frozen=True, eq=False)
class Candidate:
    """Some rows, by a column and what they have in common."""

    column: str
    value: str
    rows: npt.NDArray[np.bool_]


def worst_slices(columns: Sequence[HeldColumn], losses: Array, seed: int) -> tuple[tuple[Slice, ...], int]:
    """Return the worst slices, those of the largest difference first, and how many were examined; deterministic."""
    step = -(-len(losses) // MOST_ROWS)
    part = losses[::step]
    found = [each for column in columns for each in _cut(column, step)][:MOST_SLICES]
    chances = chances_of([each.rows for each in found], part, seed)
    bad = [
        Slice(
            each.column,
            each.value,
            int(each.rows.sum()) * step if step > 1 else int(each.rows.sum()),
            float(part[each.rows].mean()),
            float(part[~each.rows].mean()),
            chance,
        )
        for each, chance in zip(found, chances, strict=True)
        if chance <= LEVEL
    ]
    bad.sort(key=lambda each: each.other_loss - each.loss)
    return tuple(bad[:SHOWN]), len(found)


def chances_of(slices: Sequence[npt.NDArray[np.bool_]], losses: Array, seed: int) -> list[float]:
    """Return for each slice the chance that some slice is as much worse than the others, if none is worse."""
    if not slices or float(np.ptp(losses)) == 0.0:
        return [1.0] * len(slices)
    members = np.array(slices, dtype=np.float64)
    counts = members.sum(axis=1)
    spread = np.sqrt(np.var(losses) * counts * (1.0 - counts / len(losses)))
    expected = counts * losses.mean()

    def statistic(values: Array) -> Array:
        standardized: Array = (members @ values - expected[:, None]) / np.maximum(spread, np.finfo(float).tiny)[:, None]
        return standardized

    generator = np.random.default_rng(seed)
    seen = statistic(losses[:, None])[:, 0]
    permuted = np.stack([generator.permutation(losses) for _ in range(PERMUTATIONS)], axis=1)
    largest = statistic(permuted).max(axis=0)
    return [float((1 + np.sum(largest >= each)) / (1 + PERMUTATIONS)) for each in seen]


def _cut(column: HeldColumn, step: int) -> Iterator[Candidate]:
    """Yield the slices of a column that have rows enough, and leave enough."""
    values = column.values[::step]
    fewest = max(FEWEST_ROWS, FEWEST_SHARE * len(values))
    for value, rows in _parts(column.kind, values).items():
        if fewest <= rows.sum() <= len(values) - fewest:
            yield Candidate(column.name, value, rows)


def _parts(kind: str, values: np.ndarray) -> Mapping[str, npt.NDArray[np.bool_]]:
    if kind == "label":
        return {str(value_text(str(each), NAME_CHARACTERS)): values == each for each in np.unique(values)}
    is_missing = np.isnan(values)
    parts: dict[str, npt.NDArray[np.bool_]] = {MISSING: is_missing}
    known = values[~is_missing]
    if not len(known):
        return parts
    edges = np.unique(np.quantile(known, np.linspace(0.0, 1.0, PARTS + 1), method="nearest"))
    if len(edges) <= 2:  # two values or one
        return parts | {_text(kind, each): values == each for each in np.unique(known)[:PARTS]}
    for n, (low, high) in enumerate(pairwise(edges)):
        is_last = n == len(edges) - 2
        inside = (values >= low) & ((values <= high) if is_last else (values < high))
        parts[f"{_text(kind, low)} to {'' if is_last else 'below '}{_text(kind, high)}"] = inside
    return parts


def _text(kind: str, value: float) -> str:
    if kind == "date":
        return str(np.datetime64(int(value), "s").astype("datetime64[D]"))
    return f"{value:.4g}"
