"""Values of parameters that are tables: weights of classes and heads, and changes by epoch."""

from collections.abc import Iterator, Mapping
from typing import Any

CHANGES = "changes"  # the kind of key whose tables have dotted names, which are nested tables in TOML


def native_table(table: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Convert a valid table to the numbers of its kind of key, in canonical order."""
    if kind == CHANGES:
        return {epoch: _numbers(flat_table("", table[epoch])) for epoch in sorted(table, key=int)}
    return {label: _weights(table[label]) for label in sorted(table)}


def flat_table(prefix: str, table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the values of a table by dotted name; an empty table is a value."""
    for name, value in table.items():
        if isinstance(value, dict) and value:
            yield from flat_table(f"{prefix}{name}.", value)
        else:
            yield f"{prefix}{name}", value


def _numbers(pairs: Iterator[tuple[str, Any]]) -> dict[str, float]:
    return {name: float(value) for name, value in sorted(pairs)}


def _weights(value: Any) -> Any:
    """Convert the weight of a class, or those of one of several heads."""
    if isinstance(value, dict):
        return {label: float(value[label]) for label in sorted(value)}
    return value if isinstance(value, str) else float(value)
