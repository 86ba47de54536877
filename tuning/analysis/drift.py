"""Compare how the columns of two nights' data are distributed: a distance for each, and the threshold of drift.

Numbers are compared by the Kolmogorov-Smirnov distance, the largest difference between the shares of rows below any
value; labels, and whether a value is missing, by the total variation distance, half the sum of the differences between
their shares. Both are shares of rows, from 0 to 1. A threshold is one that samples of the same distribution exceed in
5% of all comparisons of two nights, over all columns together, and at least `SMALLEST`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

LEVEL = 0.05  # of all columns of a comparison together
SMALLEST = 0.05  # a share of rows: smaller ones are no drift
ORDER_STATISTICS = 256  # at most in a record of numbers, which are exact up to 1/256
KOLMOGOROV, VARIATION = "Kolmogorov-Smirnov", "total variation"


@dataclass(frozen=True, slots=True)
class Distribution:
    """A column over the rows outside the test split.

    `values` are order statistics of numbers, at equal shares of the known rows; `counts` are of labels, and `other`
    counts those beyond them.
    """

    name: str
    role: str  # target or input
    rows: int
    missing: int
    values: tuple[float, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    other: int = 0

    @property
    def known(self) -> int:
        """The number of rows with a value."""
        return self.rows - self.missing

    @property
    def has_labels(self) -> bool:
        """True for labels, False for numbers."""
        return bool(self.counts)


@dataclass(frozen=True, slots=True)
class Drift:
    """The comparison of one column: its distance, and the threshold from which it counts as drift."""

    name: str
    role: str
    measure: str
    distance: float
    threshold: float
    said: str  # what has changed

    @property
    def is_drift(self) -> bool:
        """True if samples of the same distribution are rarely so far apart."""
        return self.distance > self.threshold


@dataclass(frozen=True, slots=True)
class DataComparison:
    """The columns of two nights, those that drifted most first; names of columns that only one of them has."""

    columns: tuple[Drift, ...]
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    @property
    def drifted(self) -> list[Drift]:
        """The columns that drifted."""
        return [each for each in self.columns if each.is_drift]


def compare_data(before: Iterable[Distribution], after: Iterable[Distribution]) -> DataComparison:
    """Compare two nights, the earlier one first. A column of another kind than before is removed and added."""
    earlier, later = ({(each.name, each.has_labels): each for each in side} for side in (before, after))
    pairs = [(earlier[key], later[key]) for key in later if key in earlier]
    tests = [pair for pair in pairs if min(each.known for each in pair)]
    gaps = [pair for pair in pairs if any(each.missing for each in pair)]
    level = LEVEL / max(1, len(tests) + len(gaps))
    found = [*(_of_values(*pair, level) for pair in tests), *(_of_gaps(*pair, level) for pair in gaps)]
    return DataComparison(
        columns=tuple(sorted(found, key=lambda each: each.threshold - each.distance)),
        added=tuple(name for name, kind in later if (name, kind) not in earlier),
        removed=tuple(name for name, kind in earlier if (name, kind) not in later),
    )


def _of_values(before: Distribution, after: Distribution, level: float) -> Drift:
    if after.has_labels:
        return _of_labels(before, after, level)
    inverse = 1 / before.known + 1 / after.known
    threshold = max(SMALLEST, _kolmogorov(level) * math.sqrt(inverse))
    distance = _largest_gap(before.values, after.values)
    if max(before.known, after.known) > ORDER_STATISTICS:
        distance = max(0.0, distance - 1 / ORDER_STATISTICS)
    middle = [float(np.median(each.values)) for each in (before, after)]
    return Drift(after.name, after.role, KOLMOGOROV, distance, threshold, f"median {middle[0]:.4g} → {middle[1]:.4g}")


def _of_labels(before: Distribution, after: Distribution, level: float) -> Drift:
    if before.other or after.other:  # beyond the most frequent labels, counts are unknown
        shared = before.counts.keys() & after.counts.keys()
        pools = [{name: each.counts[name] for name in shared} for each in (before, after)]
        names = [*shared, ""]
        for pool, each in zip(pools, (before, after), strict=True):
            pool[""] = each.known - sum(pool.values())
    else:
        names = list({**before.counts, **after.counts})
        pools = [dict(each.counts) for each in (before, after)]
    shares = np.array([[pool.get(name, 0) for name in names] for pool in pools], dtype=float)
    shares /= shares.sum(axis=1, keepdims=True)
    distance, threshold = _variation(shares, (before.known, after.known), level)
    changes = shares[1] - shares[0]
    place = int(np.abs(changes).argmax())
    label = names[place] or "other labels"
    said = f"{label}: {100 * shares[0][place]:.1f} % → {100 * shares[1][place]:.1f} %"
    return Drift(after.name, after.role, VARIATION, distance, threshold, said)


def _of_gaps(before: Distribution, after: Distribution, level: float) -> Drift:
    missing = [each.missing / each.rows for each in (before, after)]
    shares = np.array([[each, 1 - each] for each in missing])
    distance, threshold = _variation(shares, (before.rows, after.rows), level)
    said = f"missing in {100 * missing[0]:.1f} % → {100 * missing[1]:.1f} %"
    return Drift(f"{after.name} (missing)", after.role, VARIATION, distance, threshold, said)


def _variation(shares: np.ndarray, rows: Sequence[int], level: float) -> tuple[float, float]:
    """Return the total variation distance between two rows of shares, and its threshold.

    The mean of the distance under equality is bounded by the standard deviations of the shares, its excess over the
    mean by the inequality of bounded differences (McDiarmid 1989).
    """
    inverse = 1 / rows[0] + 1 / rows[1]
    pooled = (shares[0] * rows[0] + shares[1] * rows[1]) / (rows[0] + rows[1])
    mean = 0.5 * float(np.sqrt(pooled * (1 - pooled) * inverse).sum())
    excess = math.sqrt(math.log(1 / level) / 2 * inverse)
    return 0.5 * float(np.abs(shares[0] - shares[1]).sum()), max(SMALLEST, mean + excess)


def _kolmogorov(level: float) -> float:
    """Return the critical value of the Kolmogorov distribution (Smirnov 1948)."""
    from scipy.special import kolmogi  # noqa: PLC0415 - only where data is compared

    return float(kolmogi(level))


def _largest_gap(before: Sequence[float], after: Sequence[float]) -> float:
    one, other = np.asarray(before), np.asarray(after)
    places = np.union1d(one, other)
    shares = [np.searchsorted(each, places, side="right") / len(each) for each in (one, other)]
    return float(np.abs(shares[0] - shares[1]).max())
