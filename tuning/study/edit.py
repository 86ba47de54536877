"""Write one parameter into the text of a study file, without changing the rest or its comments."""

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Table

_SECTION = "space"


def with_parameter(text: str, name: str, value: Any) -> str | None:
    """Return the text with this value of `name` in [space]; None if there is no place for it.

    The result is checked: it parses to the same values except for this parameter.
    """
    path = [_SECTION, *name.split(".")]
    expected = tomllib.loads(text)
    holder = expected
    for part in path[:-1]:
        holder = holder.setdefault(part, {})
        if not isinstance(holder, dict):
            return None
    holder[path[-1]] = value
    try:
        edited = _put(text, path, in_toml(value))
        return edited if tomllib.loads(edited) == expected else None
    except (TOMLKitError, tomllib.TOMLDecodeError):
        return None


def in_toml(value: Any) -> str:
    """Return a value as TOML: on one line, but for a list of cases, which has a line for each."""
    if isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
        return "[\n" + "".join(f"  {inline(each)},\n" for each in value) + "]"
    return inline(value)


def inline(value: Any) -> str:
    """Return a value as TOML on one line."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(name)} = {inline(each)}" for name, each in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(inline(each) for each in value) + "]"
    return json.dumps(value, ensure_ascii=False)


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
