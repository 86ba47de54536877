"""Propose the points of a round: those of the first at random, the others by a model of the results before."""

from collections.abc import Sequence
from typing import Protocol

from nightune.tuning.search.new_points import Point, Points
from nightune.tuning.search.observations import Observation
from nightune.tuning.search.search_space import SearchSpace


class Proposer(Protocol):
    """A pure function to further points of a round, whose first points do not depend on their number.

    From the space, what was observed before the round, the round's points so far, the number of further points and a
    seed; `among` are the only points that there are, where a recorded search is replayed.
    """

    def __call__(
        self,
        space: SearchSpace,
        observations: Sequence[Observation],
        pending: Sequence[Point],
        count: int,
        seed: Sequence[int],
        among: Sequence[Point] | None = None,
    ) -> Points: ...
