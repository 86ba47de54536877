"""The methods of a search, a row for each value of `method` in [search]: what differs from method to method.

The budget of a method whose rounds are not all alike is in BUDGETS, in tuning/study/budgets.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from nightune.tuning.search.gaussian_process import guided_gaussian_process
from nightune.tuning.search.guidance import NO_GUIDANCE, Guidance
from nightune.tuning.search.proposals import Proposer
from nightune.tuning.search.samplers import Sampler, grid, random
from nightune.tuning.search.tree_parzen import tree_parzen

Method = Literal["random", "grid", "successive_halving", "hyperband", "gp", "tpe", "auto", "pbt"]
DEFAULT_METHOD: Method = "auto"  # of a study that sets none
EARLIER_DEFAULT: Method = "random"  # in earlier versions, whose sweeps a store may hold


@dataclass(frozen=True, slots=True)
class SearchMethod:
    """How a method chooses the points of its trials, and which keys of [search] it has.

    `counted` is its noun if the study sets the number of trials; else `own_count` says where that comes from.
    """

    counted: str = ""
    own_count: str = ""
    sampler: Sampler = random  # of all points, or of the first round where others are proposed
    # What proposes the points of later rounds from the results before: by guidance, one that expects an objective of
    # each point.
    unguided: Proposer | None = None
    guided: Callable[[Guidance], Proposer] | None = None
    drops: Literal["never", "if asked", "always"] = "never"  # at a rung, where the best trials continue
    may_end_early: bool = False  # after any round: its trials do not depend on later ones
    is_distinct: bool = False  # trains no point twice where the space has few

    @property
    def proposer(self) -> Proposer | None:
        """What proposes the points of later rounds; None where all are drawn."""
        return self.guided_by(NO_GUIDANCE)

    @property
    def is_expecting(self) -> bool:
        """True if its proposer expects an objective of each point."""
        return self.guided is not None

    def guided_by(self, guidance: Guidance) -> Proposer | None:
        """Return the proposer, with what guides it if it expects an objective of each point."""
        return self.unguided if self.guided is None else self.guided(guidance)


METHODS: dict[str, SearchMethod] = {
    "random": SearchMethod("a random search", may_end_early=True, is_distinct=True),
    "grid": SearchMethod(own_count="a grid trains all its points", sampler=grid),
    "successive_halving": SearchMethod("successive halving", drops="always", is_distinct=True),
    "hyperband": SearchMethod(own_count="hyperband derives the number from its brackets", drops="always"),
    "gp": SearchMethod(
        "a search by a Gaussian process",
        guided=guided_gaussian_process,
        drops="if asked",
        may_end_early=True,
        is_distinct=True,
    ),
    "tpe": SearchMethod(
        "a search by tree-structured Parzen estimators",
        unguided=tree_parzen,
        drops="if asked",
        may_end_early=True,
        is_distinct=True,
    ),
    "auto": SearchMethod(
        "an automatic search",
        guided=guided_gaussian_process,
        drops="if asked",
        may_end_early=True,
        is_distinct=True,
    ),
    "pbt": SearchMethod(own_count="a population has its members and those that replace them"),
}


def names_of(has: Callable[[SearchMethod], bool]) -> tuple[str, ...]:
    """Return the names of the methods of which this is true."""
    return tuple(name for name, row in METHODS.items() if has(row))
