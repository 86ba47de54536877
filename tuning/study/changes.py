"""Whether the changes of values within a training fit into its epochs."""

from collections.abc import Iterator

from nightune.tuning.errors import Problem
from nightune.tuning.search.search_space import SearchSpace
from nightune.vocabulary import CHANGES


def change_problems(space: SearchSpace, epochs: int) -> Iterator[Problem]:
    """Yield the problem of changes that begin after the last epoch; it names all of them."""
    given = [table for table in space.options(CHANGES) if isinstance(table, dict)]
    beyond = sorted({int(epoch) for table in given for epoch in table if int(epoch) > epochs})
    if beyond:
        verb, them = ("is", "it") if len(beyond) == 1 else ("are", "them")
        said = f"{', '.join(map(str, beyond))} {verb} above search.epochs, {epochs}"
        yield Problem(CHANGES, f"{said}: no change would begin there; remove {them} or train longer")
