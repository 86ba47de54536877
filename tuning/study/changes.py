"""Whether the changes of values within a training fit into its epochs."""

from collections.abc import Iterator

from nightune.tuning.errors import Problem
from nightune.tuning.search.search_space import SearchSpace
from nightune.vocabulary import CHANGES


def change_problems(space: SearchSpace, epochs: int) -> Iterator[Problem]:
    """Yield the problem of changes that begin after the last epoch."""
    given = [table for table in space.options(CHANGES) if isinstance(table, dict)]
    latest = max((int(epoch) for table in given for epoch in table), default=0)
    if latest > epochs:
        message = f"{latest} is above search.epochs, {epochs}: the change would not begin; remove it or train longer"
        yield Problem(CHANGES, message)
