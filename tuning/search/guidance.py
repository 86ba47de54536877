"""What guides proposals beside results: what to expect before them, and which points share a program."""

from dataclasses import dataclass

from nightune.tuning.search.prior_mean import PriorMean
from nightune.tuning.search.structures import Structure


@dataclass(frozen=True, eq=False)
class Guidance:
    """For methods that expect an objective of each point. Without a `structure` no point shares a program."""

    prior: PriorMean | None = None
    structure: Structure | None = None


NO_GUIDANCE = Guidance()
