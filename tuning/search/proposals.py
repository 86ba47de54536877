"""Propose the points of a round: those of the first at random, the others by a model of the results before."""

from collections.abc import Callable, Sequence

from nightune.tuning.search.gaussian_process import Point, Points, gaussian_process
from nightune.tuning.search.observations import Observation
from nightune.tuning.search.search_space import SearchSpace

Proposer = Callable[[SearchSpace, Sequence[Observation], Sequence[Point], int, Sequence[int]], Points]

# By search method: from the space, what was observed before the round, the round's points so far, the number of
# further points and a seed to these points. A pure function, whose first points do not depend on their number.
PROPOSERS: dict[str, Proposer] = {"gp": gaussian_process}
