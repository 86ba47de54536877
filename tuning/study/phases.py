"""Whether the second phase of a training, which unfreezes layers, fits into its epochs."""

from collections.abc import Iterator

from nightune.tuning.errors import Problem
from nightune.tuning.search.domains import Cases, Domain, Range
from nightune.tuning.search.search_space import SearchSpace

BEGINNING = "training.unfreeze_at"
SHARE = "training.fine_tuning_fraction"


def phase_problems(space: SearchSpace, epochs: int) -> Iterator[Problem]:
    """Yield the problems of a second phase that begins after the last epoch, and of a rate for one that never does."""
    dimension = space.by_name.get(BEGINNING)
    latest = 0 if dimension is None else max(_values(dimension.domain))
    if latest > epochs:
        problem = f"{latest} is above search.epochs, {epochs}: the second phase would not begin"
        yield Problem(BEGINNING, f"{problem}; use at most {epochs}, or 0 for layers that stay frozen")
    if not latest and SHARE in space.by_name:
        remedy = f"set {BEGINNING} to the epoch from which all layers train, or remove {SHARE}"
        yield Problem(SHARE, f"has no effect: without {BEGINNING} there is no second phase; {remedy}")


def _values(domain: Domain) -> list[int]:
    """Return options, or the ends of a range."""
    if isinstance(domain, Cases):
        return [value for _, each in domain.domains for value in _values(each)]
    ends = [domain.low, domain.high] if isinstance(domain, Range) else domain.options
    return [int(value) for value in ends if isinstance(value, int | float)]
