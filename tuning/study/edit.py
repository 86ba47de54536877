"""Write values into the text of a study file, without changing the rest or its comments."""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Table

_SECTION = "space"


def with_parameter(text: str, name: str, value: Any) -> str | None:
    """Return the text with this value of `name` in [space]; None if there is no place for it."""
    return with_value(text, (_SECTION, *name.split(".")), value)


def with_value(text: str, path: Sequence[str], value: Any) -> str | None:
    """Return the text with this value at a path, or without the key for None; None if there is no place for it.

    The result is checked: it parses to the same values except for this key.
    """
    expected = tomllib.loads(text)
    holder = expected
    for part in path[:-1]:
        holder = holder.setdefault(part, {})
        if not isinstance(holder, dict):
            return None
    if value is None and path[-1] not in holder:
        return None
    holder[path[-1]] = value
    if value is None:
        del holder[path[-1]]
    try:
        edited = _put(text, list(path), None if value is None else in_toml(value))
        found = tomllib.loads(edited)
        return edited if found == expected or (value is None and _filled(found) == _filled(expected)) else None
    except (TOMLKitError, tomllib.TOMLDecodeError):
        return None


def _filled(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table without empty tables: a heading whose last key is removed may stay, or go with it."""
    held = {name: _filled(each) if isinstance(each, Mapping) else each for name, each in table.items()}
    return {name: each for name, each in held.items() if each != {}}


@dataclass(frozen=True, slots=True)
class ChangedLine:
    """A line of a study file before and after a change, and the table that it stands in; empty where it has none."""

    section: str
    before: str
    after: str


def changed_line(text: str, path: Sequence[str], value: Any) -> ChangedLine:
    """Return the line of a key under the deepest table of its path that the text has a heading for."""
    headings = {tuple(_parts(line)) for line in text.splitlines() if line.lstrip().startswith("[")}
    depths = [depth for depth in range(len(path) - 1, 0, -1) if tuple(path[:depth]) in headings]
    depth = depths[0] if depths else min(1, len(path) - 1)
    held: Any = tomllib.loads(text)
    for part in path:
        held = held.get(part) if isinstance(held, Mapping) else None
    name, section = ".".join(map(_key, path[depth:])), ".".join(map(_key, path[:depth]))
    before, after = ("" if each is None else f"{name} = {in_toml(each)}" for each in (held, value))
    return ChangedLine(f"[{section}]" if section else "", before, after)


def _parts(heading: str) -> list[str]:
    """Return the parts of a table's name; none for a line that is no heading."""
    try:
        table: Any = tomllib.loads(heading)
    except tomllib.TOMLDecodeError:
        return []
    parts = []
    while isinstance(table, dict) and len(table) == 1:
        part = next(iter(table))
        parts.append(part)
        table = table[part]
    return parts


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


def _put(text: str, path: list[str], value: str | None) -> str:
    """Return the text with the value in the deepest existing table for it, or without the key for None."""
    document: Any = tomlkit.parse(text)
    if len(path) > 1 and path[0] not in document and value is not None:
        heading, name = _key(path[0]), ".".join(map(_key, path[1:]))
        return f"{text.rstrip()}\n\n[{heading}]\n{name} = {value}\n".lstrip()
    table, rest = document, path
    while len(rest) > 1 and rest[0] in table:
        table, rest = table[rest[0]], rest[1:]
    if value is None:
        del table[rest[0]]
        return tomlkit.dumps(document)
    items = table.value.body if isinstance(table, Table) else []
    comments: list[Any] = []  # the last ones, which belong to the next table, stay above it
    while items and items[-1][0] is None:
        comments.insert(0, items.pop())
    table[rest[0] if len(rest) == 1 else tomlkit.key(rest)] = tomlkit.value(value)
    items += comments
    return tomlkit.dumps(document)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[\w-]+", name) else json.dumps(name)
