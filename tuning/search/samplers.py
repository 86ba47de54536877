"""Samplers: which params the trials of a sweep try.

A sampler is a pure function of the space, the number of trials, the results so far and the seed. Trial n draws from a
generator of its own, `default_rng([*seed, n])`: the same in any order, on any machine, after any crash.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from itertools import islice

import numpy as np

from nightune.tuning.search.grid import grid_points, grid_size
from nightune.tuning.search.search_space import SearchSpace
from nightune.tuning.trial import TrialResult, Value

__all__ = ["SAMPLERS", "Sampler", "grid", "grid_size", "random", "random_point"]

Sampler = Callable[[SearchSpace, int, Sequence[TrialResult], Sequence[int]], list[dict[str, Value]]]


def random(
    space: SearchSpace, count: int, history: Sequence[TrialResult], seed: Sequence[int]
) -> list[dict[str, Value]]:
    """Return the params of the trials 0 to count − 1, each drawn independently; the history changes nothing."""
    return [random_point(space, number, seed) for number in range(count)]


def random_point(space: SearchSpace, number: int, seed: Sequence[int]) -> dict[str, Value]:
    """Return the params of one trial.

    Every dimension takes one draw, in the order of names, whether or not it counts: a condition that is added, or a
    range that is changed, leaves the draws of all others as they were.
    """
    generator = np.random.default_rng([*seed, number])
    return space.at({name: generator.random() for name in space.by_name})


def grid(space: SearchSpace, count: int, history: Sequence[TrialResult], seed: Sequence[int]) -> list[dict[str, Value]]:
    """Return the first `count` points of the grid, or all if there are fewer; history and seed change nothing."""
    return [deepcopy(point) for point in islice(grid_points(space), count)]


# By the search's method; how long each trial is trained is the budget's, not the sampler's.
SAMPLERS: dict[str, Sampler] = {"random": random, "grid": grid, "successive_halving": random, "hyperband": random}
