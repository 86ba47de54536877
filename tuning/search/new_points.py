"""Points that are not taken, and random ones to complete a round: shared by the methods that propose from results."""

import json
from collections.abc import Mapping, Sequence

import numpy as np

from nightune.tuning.search.distinct import distinct_points
from nightune.tuning.search.samplers import random
from nightune.tuning.search.search_space import SearchSpace
from nightune.tuning.trial import Value

_REST, _REPEATED = 3, 4  # streams of the seed

Point = Mapping[str, Value]
Points = list[dict[str, Value]]


def new_points(points: Sequence[dict[str, Value]], taken: Sequence[Point]) -> Points:
    """Return the points that are not taken, each once."""
    keys = {point_key(point) for point in taken}
    return list({point_key(point): point for point in points if point_key(point) not in keys}.values())


def filled(
    found: Points,
    space: SearchSpace,
    taken: Sequence[Point],
    count: int,
    seed: Sequence[int],
    among: Sequence[Point] | None = None,
) -> Points:
    """Complete the points with random ones: new ones, as long as the space has any; none but those of `among`."""
    if len(found) >= count:
        return found
    if among is not None:
        left = new_points(list(map(dict, among)), [*taken, *found])
        order = np.random.default_rng([*seed, _REST]).permutation(len(left))
        return [*found, *(left[place] for place in order)][:count]
    drawn = distinct_points(space, len(taken) + count, [], [*seed, _REST])
    points = [*found, *new_points(drawn, [*taken, *found])][:count]
    return [*points, *random(space, count - len(points), [], [*seed, _REPEATED])]


def point_key(point: Point) -> str:
    """Return a text that is the same for equal points."""
    return json.dumps(point, sort_keys=True)
