"""Values of parameters that are tables: weights of classes and heads, and changes by epoch."""

from collections.abc import Mapping
from typing import Any

from nightune.vocabulary import flat_table

CHANGES_KIND = "changes"  # the kind of key whose tables have dotted names, which are nested tables in TOML


def native_table(table: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Convert a valid table to the numbers of its kind of key, in canonical order."""
    if kind == CHANGES_KIND:
        return {epoch: _numbers(flat_table(table[epoch])) for epoch in sorted(table, key=int)}
    return {label: _weights(table[label]) for label in sorted(table)}


def _numbers(flat: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(flat[name]) for name in sorted(flat)}


def _weights(value: Any) -> Any:
    """Convert the weight of a class, or those of one of several heads."""
    if isinstance(value, dict):
        return {label: float(value[label]) for label in sorted(value)}
    return value if isinstance(value, str) else float(value)
