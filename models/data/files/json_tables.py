"""Read JSON files as tables: a list of rows, columns, or an object per line; whole numbers keep every digit."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightune.models.data.files.packed import unpacked
from nightune.models.data.files.whole_numbers import column_of
from nightune.models.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

KEY = "data.source"
_FORMS = (
    'a list of rows [{"a": 1, "y": 0}, …], columns {"a": [1, …], "y": [0, …]}, or one object per line in a .jsonl file'
)


def read_json(file: Path, is_lines: bool, encoding: str) -> "tuple[pd.DataFrame, tuple[str, ...]]":
    """Read rows or columns of a JSON file; objects in a row become columns NAME.FIELD, which the findings say.

    Values keep their types: unlike pandas' reader, texts of digits stay texts, and no text becomes a date.
    """
    given = _parsed(file, is_lines, encoding)
    rows, where = _rows(given, file.name)
    nested = sorted({name for row in rows for name, value in row.items() if isinstance(value, Mapping)})
    columns = _columns([_flat(row) for row in rows] if nested else rows)
    findings = [f"{file.name}: rows are those of {where!r}"] if where else []
    if nested:
        findings.append(f"{file.name}: objects in {', '.join(map(repr, nested))} are columns, such as {nested[0]}.…")
    return columns, tuple(findings)


def _parsed(file: Path, is_lines: bool, encoding: str) -> Any:
    with unpacked(file) as plain:
        try:
            text = plain.read_text(encoding=encoding or "utf-8-sig")
            return _lines(text) if is_lines else _document(text)
        except UnicodeError as error:
            problem = f"{file.name} is not {encoding or 'UTF-8'} ({error})"
            raise InputError("data.encoding", f'{problem}; write encoding = "…" in [data]') from error
        except (ValueError, RecursionError) as error:
            raise InputError(KEY, f"{file.name} is not well-formed JSON ({error})") from error


def _document(text: str) -> Any:
    """Return the document; a file of one object per line is a list of them, whatever its name is."""
    try:
        return json.loads(text)
    except ValueError as error:
        if "Extra data" not in str(error):
            raise
        return _lines(text)


def _lines(text: str) -> list[Any]:
    return [_object(line, number) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]


def _object(line: str, number: int) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise ValueError(f"line {number}: {str(error).partition(': line 1 ')[0]}") from error


def _rows(given: Any, name: str) -> tuple[Sequence[Mapping[str, Any]], str]:
    """Return the rows of a document, and the name of the list that holds them, if it is one of an object."""
    rows = _as_rows(given)
    if rows is None and isinstance(given, dict):
        lists = {key: found for key, each in given.items() if isinstance(each, list) and (found := _as_rows(each))}
        if len(lists) == 1:
            return next(iter(lists.values())), next(iter(lists))
    if rows is None:
        raise InputError(KEY, f"{name} holds no table ({_FORMS})")
    return rows, ""


def _as_rows(given: Any) -> Sequence[Mapping[str, Any]] | None:
    """Return rows of a list of objects, of an object of columns, or of what pandas writes; None for other documents."""
    if isinstance(given, list):
        return given if all(isinstance(row, dict) for row in given) else None
    if not isinstance(given, dict) or not given:
        return None
    names, rows = given.get("columns"), given.get("data")
    if isinstance(names, list) and isinstance(rows, list):  # orient="split"
        is_whole = all(isinstance(row, list) and len(row) == len(names) for row in rows)
        return [dict(zip(map(str, names), row, strict=True)) for row in rows] if is_whole else None
    columns = list(given.values())
    if all(isinstance(each, list) and len(each) == len(columns[0]) for each in columns):
        is_one_list = len(columns) == 1 and all(isinstance(each, dict) for each in columns[0])
        return None if is_one_list else [dict(zip(given, row, strict=True)) for row in zip(*columns, strict=True)]
    if all(isinstance(each, dict) and each.keys() == columns[0].keys() for each in columns):
        return [{column: given[column][row] for column in given} for row in columns[0]]
    return None


def _flat(row: Mapping[str, Any], front: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.items():
        flat |= _flat(value, f"{front}{name}.") if isinstance(value, Mapping) else {f"{front}{name}": value}
    return flat


def _columns(rows: Sequence[Mapping[str, Any]]) -> "pd.DataFrame":
    import pandas as pd  # noqa: PLC0415 - half a second, only for tables

    names = dict.fromkeys(name for row in rows for name in row)
    return pd.DataFrame({name: column_of([row.get(name) for row in rows]) for name in names})
