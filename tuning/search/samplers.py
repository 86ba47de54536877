"""Samplers: choose the params of a sweep's trials.

A sampler is a pure function of the space, the number of trials, the results so far and the seed. Trial n has its own
generator, `default_rng([*seed, n])`: the draws do not depend on the order of trials, the machine or restarts.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from itertools import islice

import numpy as np

from nightune.tuning.search.grid import grid_points, grid_size
from nightune.tuning.search.search_space import SearchSpace
from nightune.tuning.trial import TrialResult, Value

__all__ = ["Sampler", "draw_units", "grid", "grid_size", "random", "random_point"]

Sampler = Callable[[SearchSpace, int, Sequence[TrialResult], Sequence[int]], list[dict[str, Value]]]


def random(
    space: SearchSpace, count: int, history: Sequence[TrialResult], seed: Sequence[int]
) -> list[dict[str, Value]]:
    """Return the params of the trials 0 to count − 1, drawn independently; the history is ignored."""
    return [random_point(space, number, seed) for number in range(count)]


def random_point(space: SearchSpace, number: int, seed: Sequence[int]) -> dict[str, Value]:
    """Return the params of one trial.

    Every dimension uses one draw, in the order of names, even if it is inactive: adding a condition or changing a range
    does not change the draws of other dimensions.
    """
    return space.at(draw_units(space, number, seed))


def draw_units(space: SearchSpace, number: int, seed: Sequence[int]) -> dict[str, float]:
    """Return the draws of one trial, in [0, 1), for every dimension by name."""
    generator = np.random.default_rng([*seed, number])
    return {name: generator.random() for name in space.by_name}


def grid(space: SearchSpace, count: int, history: Sequence[TrialResult], seed: Sequence[int]) -> list[dict[str, Value]]:
    """Return the first `count` points of the grid, or all if there are fewer; history and seed are ignored."""
    return [deepcopy(point) for point in islice(grid_points(space), count)]
