"""Texts that each database of MLflow stores: PostgreSQL refuses the character NUL, which a message may have."""

from typing import Any, TypeVar

T = TypeVar("T")
NUL, REPLACEMENT = "\0", "\N{REPLACEMENT CHARACTER}"


def storable(value: T) -> T:
    """Return a value with U+FFFD for each NUL of its texts, those of tables, lists, tags and params included."""
    return _storable(value)  # type: ignore[no-any-return]


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace(NUL, REPLACEMENT)
    if isinstance(value, dict):
        return {key: _storable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_storable, value))
    text = getattr(value, "value", None)
    if isinstance(text, str) and NUL in text:  # MLflow's Param or RunTag
        return type(value)(value.key, _storable(text))
    return value
