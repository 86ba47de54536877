"""Write a range for one parameter into the text of a study file, without changing the rest or its comments."""

import copy
import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any

_HEADER = re.compile(r"^\s*\[(?!\[)([^\]]+)\]\s*(#.*)?$")
_ASSIGNMENT = re.compile(r"^\s*([\w\"'.\- ]+?)\s*=")
_SECTION = "space"


def with_log_range(text: str, name: str, low: float, high: float) -> str | None:
    """Return the text with `name` of [space] as a range on a log scale; None if its position is ambiguous.

    A condition and a number of steps are kept. The result is checked: it parses to the same values except for this
    parameter.
    """
    tables = tomllib.loads(text)
    expected = copy.deepcopy(tables)
    holder = expected.setdefault(_SECTION, {})
    *parents, last = name.split(".")
    for part in parents:
        holder = holder.setdefault(part, {})
        if not isinstance(holder, dict):
            return None
    holder[last] = {"low": low, "high": high, "scale": "log", **_kept(tables, holder.get(last))}
    lines = text.splitlines()
    edited = _replaced(lines, name, inline(holder[last])) or _inserted(lines, name, inline(holder[last]))
    result = "\n".join(edited) + "\n"
    return result if _read(result) == expected else None


def _kept(tables: Mapping[str, Any], before: Any) -> dict[str, Any]:
    """The fields of the written parameter that also apply to the range."""
    fields = before if isinstance(before, Mapping) else {}
    kept = {name: fields[name] for name in ("steps", "when") if name in fields}
    if tables.get("search", {}).get("method") == "grid" and "steps" not in kept:
        options = fields.get("options", before)
        kept = {"steps": max(2, len(options) if isinstance(options, list) else 5), **kept}
    return kept


def inline(value: Any) -> str:
    """Return a value as TOML on one line."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(name)} = {inline(each)}" for name, each in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(inline(each) for each in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[\w-]+", name) else json.dumps(name)


def _replaced(lines: list[str], name: str, value: str) -> list[str] | None:
    """Return the lines with the parameter's assignment, of one or more lines, replaced."""
    section: list[str] = []
    for place, line in enumerate(lines):
        header = _HEADER.match(line)
        if header:
            section = _parts(header[1])
            continue
        assignment = _ASSIGNMENT.match(line)
        if assignment and [*section, *_parts(assignment[1])] == [_SECTION, *name.split(".")]:
            end = next((end for end in range(place + 1, len(lines) + 1) if _read("\n".join(lines[place:end]))), None)
            if end is not None:
                return [*lines[:place], f"{assignment[0]} {value}", *lines[end:]]
    return None


def _inserted(lines: list[str], name: str, value: str) -> list[str]:
    """Return the lines with the parameter as the first of the deepest existing table for it."""
    path = [_SECTION, *name.split(".")]
    sections = {tuple(_parts(header[1])): place for place, line in enumerate(lines) if (header := _HEADER.match(line))}
    for depth in range(len(path) - 1, 0, -1):
        if tuple(path[:depth]) in sections:
            place = sections[tuple(path[:depth])] + 1
            return [*lines[:place], f"{'.'.join(path[depth:])} = {value}", *lines[place:]]
    return [*lines, "", f"[{_SECTION}]", f"{name} = {value}"]


def _parts(dotted: str) -> list[str]:
    return [part.strip().strip("\"'") for part in dotted.split(".")]


def _read(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return {}
