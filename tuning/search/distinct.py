"""Draw distinct points: where a space holds few of them, random draws would train the same point again and again."""

import json
from collections.abc import Sequence

import numpy as np

from nightune.tuning.search.domains import Cases, Choice, Domain, Range
from nightune.tuning.search.grid import all_points, count_points
from nightune.tuning.search.samplers import random, random_point
from nightune.tuning.search.search_space import SearchSpace
from nightune.tuning.trial import TrialResult, Value

PATIENCE = 200  # draws in a row without a new point, after which the rest is listed: few points are left
LISTED = 100_000  # points at most; in larger spaces, whose rest is a rare branch, this many more draws are tried
_LAST_STREAM = 2**32 - 1  # of the generator that shuffles the rest; trials count from 0


def point_count(space: SearchSpace, limit: int) -> int | None:
    """Count the distinct points of a random search, exactly up to the limit; None if a range has any number of them."""
    if not all(_is_finite(dimension.domain) for dimension in space.dimensions):
        return None
    return count_points(space, _values, limit)


def distinct_points(
    space: SearchSpace, count: int, history: Sequence[TrialResult], seed: Sequence[int]
) -> list[dict[str, Value]]:
    """Return the first distinct points of a random search: `count`, or all if there are fewer.

    The first points do not depend on their number. A space with a continuous range, or with a single point, is drawn as
    by `random`: of the latter, the trials differ in their seeds.
    """
    if point_count(space, 1) in (None, 1):
        return random(space, count, history, seed)
    found: dict[str, dict[str, Value]] = {}
    number = repeats = 0
    patience = PATIENCE
    while len(found) < count and repeats < patience:
        point = random_point(space, number, seed)
        key = json.dumps(point)
        number, repeats = number + 1, repeats + 1 if key in found else 0
        found.setdefault(key, point)
        if repeats == PATIENCE and not _is_listed(space):
            patience = LISTED
    if len(found) < count and patience == PATIENCE:
        rest = [point for point in all_points(space, _values) if json.dumps(point) not in found]
        order = np.random.default_rng([*seed, _LAST_STREAM]).permutation(len(rest))
        return [*found.values(), *(rest[place] for place in order)][:count]
    return list(found.values())


def _is_listed(space: SearchSpace) -> bool:
    return count_points(space, _values, LISTED) <= LISTED


def _is_finite(domain: Domain) -> bool:
    if isinstance(domain, Cases):
        return all(_is_finite(each) for _, each in domain.domains)
    return isinstance(domain, Choice) or domain.integer


def _values(domain: Range | Choice) -> Sequence[Value]:
    return domain.options if isinstance(domain, Choice) else range(int(domain.low), int(domain.high) + 1)
