"""Refuse names of columns that occur several times: one of them would be lost, or renamed."""

from collections.abc import Sequence

from nightune.models.errors import InputError

KEY, RENAME = "data.source", "rename them"


def refuse_repeated(names: Sequence[str], what: str, remedy: str = RENAME, key: str = KEY) -> None:
    """Refuse the first repeated name of a file, or of what else gives a table; empty names do not count."""
    repeated = next((name for name in names if name and names.count(name) > 1), None)
    if repeated is not None:
        raise InputError(key, f"{what} holds several columns named {repeated!r}; {remedy}")
