"""Write a range for one parameter into the text of a study file, without changing the rest or its comments."""

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Table

_SECTION = "space"


def with_log_range(text: str, name: str, low: float, high: float) -> str | None:
    """Return the text with `name` of [space] as a range on a log scale; None if there is no place for it.

    A condition and a number of steps are kept. The result is checked: it parses to the same values except for this
    parameter.
    """
    path = [_SECTION, *name.split(".")]
    expected = tomllib.loads(text)
    holder = expected
    for part in path[:-1]:
        holder = holder.setdefault(part, {})
        if not isinstance(holder, dict):
            return None
    value = {"low": low, "high": high, "scale": "log", **_kept(expected, holder.get(path[-1]))}
    holder[path[-1]] = value
    try:
        edited = _put(text, path, inline(value))
        return edited if tomllib.loads(edited) == expected else None
    except (TOMLKitError, tomllib.TOMLDecodeError):
        return None


def inline(value: Any) -> str:
    """Return a value as TOML on one line."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(name)} = {inline(each)}" for name, each in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(inline(each) for each in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def _kept(tables: Mapping[str, Any], before: Any) -> dict[str, Any]:
    """Return the fields of the old parameter that are kept for the range."""
    fields = before if isinstance(before, Mapping) else {}
    kept = {name: fields[name] for name in ("steps", "when") if name in fields}
    if tables.get("search", {}).get("method") == "grid" and "steps" not in kept:
        options = fields.get("options", before)
        kept = {"steps": max(2, len(options) if isinstance(options, list) else 5), **kept}
    return kept


def _put(text: str, path: list[str], value: str) -> str:
    """Return the text with the value in the deepest existing table for it, in place of the old one."""
    document: Any = tomlkit.parse(text)
    table, rest = document, path
    while len(rest) > 1 and rest[0] in table:
        table, rest = table[rest[0]], rest[1:]
    items = table.value.body if isinstance(table, Table) else []
    comments: list[Any] = []  # the last ones, which belong to the next table, stay above it
    while items and items[-1][0] is None:
        comments.insert(0, items.pop())
    table[rest[0] if len(rest) == 1 else tomlkit.key(rest)] = tomlkit.value(value)
    items += comments
    return tomlkit.dumps(document)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[\w-]+", name) else json.dumps(name)
