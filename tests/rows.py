"""Rows that tests ask for, for each technique, with a sentence where one is missing."""

from collections.abc import Collection, Iterable


def missing_rows(names: Iterable[str], rows: Collection[str], table: str) -> list[str]:
    """Return a sentence for each technique without a row in the table, named with its file."""
    return [f"{name!r} has no row: add one to {table}" for name in names if name not in rows]
