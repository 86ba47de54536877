"""Pairs of dimensions that interact: where the effect of one depends on the other, by more than chance.

The scores are explained by the dimensions alone first; what is left is compared with products of two dimensions. Chance
is what the same comparison finds after the residuals are permuted among the trials (Freedman, Lane, 1983), and a
pair is compared with the best of all pairs there (Westfall, Young, 1993).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from nightune.tuning.analysis.importance import active_groups
from nightune.tuning.search.domains import Choice
from nightune.tuning.search.search_space import Dimension, SearchSpace, places_of
from nightune.tuning.trial import TrialResult

Array = npt.NDArray[np.float64]

LEVEL = 0.02  # below 0.05: the residuals of wild scores are not quite exchangeable
PERMUTATIONS = 400
MOST_DIMENSIONS = 6  # whose pairs are examined: those that cause most of the differences
FEWEST_TRIALS = 16
FEWEST_PER_TERM = 3  # trials for each term of the model
RESAMPLES = 24
PLACES = (np.arange(32) + 0.5) / 32  # along the first dimension of a pair, in [0, 1]
LEVELS = (1 / 6, 0.5, 5 / 6)  # of a second dimension that is a range
TOLERANCE = 1e-8
OUTLYING = 1.5  # interquartile ranges outside the quartiles


@dataclass(frozen=True, eq=False)
class Interaction:
    """Two dimensions, the share of the variance that their interaction causes beyond chance, and the chance of it.

    `curves` are the scores along the first dimension at `PLACES` for each of `levels`, places in [0, 1] of the second
    one: (3, levels, 32), the low end, the middle and the high end of the 80% interval over resampled trials.
    """

    first: Dimension
    second: Dimension
    share: float
    chance: float
    trials: int
    levels: tuple[float, ...]
    curves: Array

    @property
    def is_found(self) -> bool:
        """True if the interaction is more than chance."""
        return self.chance <= LEVEL


@dataclass(frozen=True, slots=True)
class Examined:
    """The interactions that were found, the strongest first, and how many pairs were examined."""

    found: tuple[Interaction, ...]
    pairs: int


def interactions(
    space: SearchSpace,
    ranked: Sequence[TrialResult],
    score: Callable[[float], float],
    shares: Mapping[str, float],
    seed: int,
) -> Examined:
    """Return the pairs that interact among the trials in which both dimensions are active; deterministic.

    `score` turns an objective into the number that is explained, `shares` are those of the single dimensions.
    """
    values = np.array([score(result.objective) for result in ranked])
    searched = [space.by_name[name] for name in space.varying]
    rows = [places_of(searched, result.trial.params) for result in ranked]
    groups = {active: members for active, members in active_groups(searched, rows).items() if len(active) > 0}
    found: list[Interaction] = []
    pairs, examined = 0, [active for active in groups if len(active) >= FEWEST_TRIALS]
    for active in examined:
        own = {each.name for each in groups[active]}
        shared = [each for each in searched if all(each.name in rows[n] for n in active)]
        shared.sort(key=lambda each: (-shares.get(each.name, 0.0), each.name))
        chosen = _as_many_as_fit(shared[:MOST_DIMENSIONS], len(active))
        wanted = [pair for pair in combinations(chosen, 2) if own & {each.name for each in pair}]
        places = np.array([[rows[n][each.name] for each in chosen] for n in active])
        here = _Group(chosen, places, _without_outliers(values[list(active)]))
        for pair, share, chance in here.tested(wanted, seed):
            pairs += 1
            if chance * len(examined) <= LEVEL:
                found.append(here.drawn(pair, share, chance * len(examined), seed))
    return Examined(tuple(sorted(found, key=lambda each: (each.chance, -each.share))), pairs)


def _as_many_as_fit(dimensions: Sequence[Dimension], trials: int) -> Sequence[Dimension]:
    """Return the first dimensions whose terms, and those of any pair of them, the trials suffice for."""
    for count in range(len(dimensions), 1, -1):
        widths = [_width(each) for each in dimensions[:count]]
        if FEWEST_PER_TERM * (1 + sum(widths) + max(a * b for a, b in combinations(widths, 2))) <= trials:
            return dimensions[:count]
    return ()


def _width(dimension: Dimension) -> int:
    return len(dimension.domain.options) - 1 if isinstance(dimension.domain, Choice) else 2


Pair = tuple[Dimension, Dimension]


@dataclass(frozen=True, eq=False)
class _Group:
    """Trials in which the same dimensions are active: their places, (trials, dimensions), and scores."""

    dimensions: Sequence[Dimension]
    places: Array
    values: Array

    def tested(self, pairs: Sequence[Pair], seed: int) -> list[tuple[Pair, float, float]]:
        """Return each pair with terms of its own, its share of the variance and the chance of it."""
        alone = _orthonormal(np.hstack([np.ones((len(self.values), 1)), *map(self._terms, self.dimensions)]))
        left = _without_outliers(self.values - alone @ (alone.T @ self.values))
        left = left - alone @ (alone.T @ left)
        total = float(np.sum((self.values - self.values.mean()) ** 2))
        spaces: list[tuple[Pair, Array]] = []
        for pair in pairs:
            product = _products(*(self._terms(each) for each in pair))
            beyond = _orthonormal(product - alone @ (alone.T @ product))
            if beyond.shape[1]:
                spaces.append((pair, beyond))
        if not spaces or total <= 0.0 or float(left @ left) <= TOLERANCE * total:
            return []
        generator = np.random.default_rng(seed)
        permuted = np.stack([left, *(generator.permutation(left) for _ in range(PERMUTATIONS))], axis=1)
        permuted -= alone @ (alone.T @ permuted)
        parts = np.array([np.sum((beyond.T @ permuted) ** 2, axis=0) for _, beyond in spaces])
        shares = parts / np.sum(permuted**2, axis=0)
        usual, spread = shares[:, 1:].mean(axis=1), np.maximum(shares[:, 1:].std(axis=1), 1e-12)
        standardized = (shares - usual[:, None]) / spread[:, None]
        largest = standardized[:, 1:].max(axis=0)
        part = float(left @ left) / total
        return [
            (
                pair,
                max(0.0, part * float(shares[place, 0] - usual[place])),
                float((1 + np.sum(largest >= standardized[place, 0])) / (1 + PERMUTATIONS)),
            )
            for place, (pair, _) in enumerate(spaces)
        ]

    def drawn(self, pair: Pair, share: float, chance: float, seed: int) -> Interaction:
        """Return the interaction with the scores along the first dimension, a range if one of the two is one."""
        first, second = pair if not isinstance(pair[0].domain, Choice) else pair[::-1]
        levels = LEVELS if not isinstance(second.domain, Choice) else _middles(second.domain)
        at = np.array([[along, level] for level in levels for along in PLACES])
        generator, curves = np.random.default_rng(seed), []
        for _ in range(RESAMPLES):
            drawn = generator.integers(0, len(self.values), len(self.values))
            curves.append(self._fitted((first, second), drawn, at).reshape(len(levels), len(PLACES)))
        low, middle, high = np.quantile(np.array(curves), [0.1, 0.5, 0.9], axis=0)
        return Interaction(first, second, share, chance, len(self.values), tuple(levels), np.array([low, middle, high]))

    def _fitted(self, pair: Pair, drawn: npt.NDArray[np.int64], at: Array) -> Array:
        """Return the scores at places of a pair, all other dimensions at their means, of the model of drawn trials."""
        others = [each for each in self.dimensions if each not in pair]
        own = [self._terms(each)[drawn] for each in pair]
        design = np.hstack(
            [np.ones((len(drawn), 1)), *own, _products(*own), *(_centred(self._terms(each)[drawn]) for each in others)]
        )
        solved = np.linalg.lstsq(design, self.values[drawn], rcond=None)[0]
        wanted = [_basis(each, at[:, place]) for place, each in enumerate(pair)]
        there = np.hstack([np.ones((len(at), 1)), *wanted, _products(*wanted)])
        predicted: Array = there @ solved[: there.shape[1]]
        return np.clip(predicted, self.values.min(), self.values.max())

    def _terms(self, dimension: Dimension) -> Array:
        return _basis(dimension, self.places[:, list(self.dimensions).index(dimension)])


def _basis(dimension: Dimension, places: Array) -> Array:
    """Return the terms of a dimension: a line and a parabola, or of options all but the first."""
    if isinstance(dimension.domain, Choice):
        numbers = np.minimum((places * len(dimension.domain.options)).astype(int), len(dimension.domain.options) - 1)
        terms: Array = (numbers[:, None] == np.arange(1, len(dimension.domain.options))).astype(np.float64)
        return terms
    centred = 2.0 * places - 1.0
    return np.stack([centred, centred**2], axis=1)


def _products(first: Array, second: Array) -> Array:
    product: Array = (first[:, :, None] * second[:, None, :]).reshape(len(first), -1)
    return product


def _centred(terms: Array) -> Array:
    centred: Array = terms - terms.mean(axis=0)
    return centred


def _without_outliers(left: Array) -> Array:
    """Clip numbers far outside the quartiles: a few wild trials make any pair look as if it interacts."""
    low, high = np.quantile(left, [0.25, 0.75])
    reach = OUTLYING * (high - low)
    clipped: Array = np.clip(left, low - reach, high + reach) if reach > 0.0 else left
    return clipped


def _orthonormal(terms: Array) -> Array:
    """Return an orthonormal basis of the columns, without those that others explain."""
    left, sizes, _ = np.linalg.svd(terms, full_matrices=False)
    basis: Array = left[:, sizes > TOLERANCE * max(float(sizes[0]) if len(sizes) else 0.0, 1.0)]
    return basis


def _middles(domain: Choice) -> list[float]:
    return [(place + 0.5) / len(domain.options) for place in range(len(domain.options))]
