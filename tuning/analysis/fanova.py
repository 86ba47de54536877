"""Functional ANOVA (fANOVA): the share of a function's variance that each argument causes, by a random forest.

A tree is constant on boxes, so its marginal mean at each value of one argument is exact; the variance of these means
along the argument is the share of its main effect (Hutter, Hoos, Leyton-Brown 2014).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

MINIMUM_ROWS = 10  # a forest on fewer rows is meaningless
TREES = 32
GRID = (np.arange(128) + 0.5) / 128  # values of one argument at which marginal means are computed
SMALL_TREES, MOST_LEAVES, SMALL_SAMPLE_POWER = 12, 64, 9  # of one of many forests on resampled rows
SAMPLE_POWER = 13  # 2^13 points for the variance of the forest

Forest = Sequence[Any]  # scikit-learn's trees


@dataclass(frozen=True, slots=True)
class VarianceShares:
    """The share of each argument's main effect; the rest to 1 is due to interactions or noise.

    `explained` is the variance that a forest explains out of bag: at 0 or less, the shares are noise.
    """

    shares: tuple[float, ...]
    explained: float


def variance_shares(places: np.ndarray, values: np.ndarray, seed: int) -> VarianceShares | None:
    """Return the shares, from points (rows, arguments) in [0, 1] and a finite value for each row.

    Arguments are taken as uniform in [0, 1]. None if there are too few rows, or all values are equal.
    """
    from scipy.stats import qmc  # noqa: PLC0415 - takes a second, only for reports

    arguments = places.shape[1]
    if len(values) < MINIMUM_ROWS or float(np.ptp(values)) == 0.0:
        return None
    # Bootstrapping flattens the fitted function by a tenth; the bootstrapped forest serves only the out-of-bag score.
    explained = explained_share(places, values, seed)
    forest = [tree for _, tree in _trees(places, values, seed, TREES, {"max_features": 2 / 3})]
    variance = float(np.var(forest_mean(forest, qmc.Sobol(arguments, rng=seed).random_base2(SAMPLE_POWER))))
    boxes = [_boxes(tree) for tree in forest]
    shares = [_own_variance(boxes, argument) / variance for argument in range(arguments)]
    return VarianceShares(tuple(min(share, 1.0) for share in shares), explained)


@dataclass(frozen=True, eq=False)
class Marginals:
    """The mean of a forest along each argument at `GRID`, (arguments, 128), and the share of each, (arguments,)."""

    curves: np.ndarray
    shares: np.ndarray


def marginals(places: np.ndarray, values: np.ndarray, seed: int) -> Marginals:
    """Fit a small forest to points (rows, arguments) in [0, 1] and their values, which must differ."""
    from scipy.stats import qmc  # noqa: PLC0415 - takes a second, only for reports

    arguments = places.shape[1]
    trees = small_forest(places, values, seed)
    variance = float(np.var(forest_mean(trees, qmc.Sobol(arguments, rng=seed).random_base2(SMALL_SAMPLE_POWER))))
    boxes = [_boxes(tree) for tree in trees]
    curves = np.array([np.mean([_means(each, n) for each in boxes], axis=0) for n in range(arguments)])
    shares = np.minimum(np.var(curves, axis=1) / max(variance, np.finfo(float).tiny), 1.0)
    return Marginals(curves, shares)


def explained_share(places: np.ndarray, values: np.ndarray, seed: int) -> float:
    """Return the share of the variance that a forest explains out of bag; at 0 or less it has learned nothing."""
    count = len(values)
    sums, trees_of = np.zeros(count), np.zeros(count, dtype=np.int64)
    rows = places.astype(np.float32)
    for weights, tree in _trees(places, values, seed, TREES, {}, resampled=True):
        left_out = weights == 0
        sums[left_out] += tree.predict(rows[left_out])[:, 0]
        trees_of[left_out] += 1
    errors = (values - sums / np.maximum(trees_of, 1))[:, None]
    parts = (errors, (values - np.average(values))[:, None])
    unexplained, whole = (float(np.sum(each**2, axis=0)[0]) for each in parts)
    if whole == 0.0:  # equal values, or differences whose squares are too small for a number
        return 1.0 if unexplained == 0.0 else 0.0
    return 1.0 - unexplained / whole


def small_forest(places: np.ndarray, values: np.ndarray, seed: int) -> Forest:
    """Fit few trees with few leaves, as one of many forests."""
    limits = {"max_features": 2 / 3, "max_leaf_nodes": MOST_LEAVES}
    return [tree for _, tree in _trees(places, values, seed, SMALL_TREES, limits)]


def forest_mean(trees: Forest, places: np.ndarray) -> np.ndarray:
    """Return the mean of a forest's trees at points (rows, arguments)."""
    rows = places.astype(np.float32)
    mean: np.ndarray = sum(tree.predict(rows)[:, 0] for tree in trees) / len(trees)
    return mean


def _trees(
    places: np.ndarray, values: np.ndarray, seed: int, count: int, limits: Mapping[str, Any], resampled: bool = False
) -> Iterator[tuple[np.ndarray | None, Any]]:
    """Fit the trees of `RandomForestRegressor(count, bootstrap=resampled, random_state=seed, **limits)`.

    With each is how often its resampling draws each row; None without resampling. In half of its time: it copies and
    checks an estimator for each tree, which takes longer than to fit so few rows.
    """
    from sklearn import config_context  # noqa: PLC0415 - takes a second, only for reports
    from sklearn.tree import DecisionTreeRegressor  # noqa: PLC0415

    rows, targets = places.astype(np.float32), values[:, None]
    generator, own = np.random.RandomState(seed), np.random.RandomState()  # seeding is ten times faster than a new one
    for _ in range(count):
        state = generator.randint(np.iinfo(np.int32).max)
        own.seed(state)
        weights = _drawn(own, len(values)) if resampled else None
        own.seed(state)
        tree = DecisionTreeRegressor(random_state=own, **limits)
        with config_context(skip_parameter_validation=True):
            tree.fit(rows, targets, sample_weight=weights, check_input=False)
        yield weights, tree.tree_


def _drawn(generator: np.random.RandomState, count: int) -> np.ndarray:
    """Return how often a tree's resampling draws each row."""
    return np.bincount(generator.randint(0, count, count), minlength=count)


@dataclass(frozen=True, slots=True)
class _Boxes:
    """A tree's leaves: their bounds, (leaves, arguments), and values."""

    low: np.ndarray
    high: np.ndarray
    values: np.ndarray


def _boxes(tree: Any) -> _Boxes:
    """Divide the unit cube into the tree's leaves."""
    arguments = int(tree.n_features)
    left, right, feature, thresholds = tree.children_left, tree.children_right, tree.feature, tree.threshold
    values = tree.value[:, 0, 0].tolist()  # each of these is made anew when it is asked for
    leaves: list[tuple[np.ndarray, np.ndarray, float]] = []
    waiting = [(0, np.zeros(arguments), np.ones(arguments))]
    while waiting:
        node, low, high = waiting.pop()
        if left[node] == right[node]:
            leaves.append((low, high, values[node]))
            continue
        argument, threshold = feature[node], thresholds[node]
        cut_high, cut_low = high.copy(), low.copy()
        cut_high[argument] = cut_low[argument] = threshold
        waiting += [(left[node], low, cut_high), (right[node], cut_low, high)]
    lows, highs, means = zip(*leaves, strict=True)
    return _Boxes(np.array(lows), np.array(highs), np.array(means))


def _own_variance(forest: Sequence[_Boxes], argument: int) -> float:
    """The variance of the forest's marginal mean along one argument."""
    return float(np.var(np.mean([_means(boxes, argument) for boxes in forest], axis=0)))


def _means(boxes: _Boxes, argument: int) -> np.ndarray:
    """A tree's marginal mean at each value of the grid."""
    low, high = boxes.low[:, argument], boxes.high[:, argument]
    others = np.delete(boxes.high - boxes.low, argument, axis=1).prod(axis=1)
    is_inside = (low[:, None] <= GRID) & (high[:, None] > GRID)
    means: np.ndarray = (others * boxes.values) @ is_inside
    return means
