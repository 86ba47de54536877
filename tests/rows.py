"""Rows that tests require for each technique, with a message for a missing one."""

from collections.abc import Collection, Iterable


def missing_rows(names: Iterable[str], rows: Collection[str], table: str) -> list[str]:
    """Return a message for each technique without a row in the table, which is named with its file."""
    return [f"{name!r} has no row: add one to {table}" for name in names if name not in rows]
