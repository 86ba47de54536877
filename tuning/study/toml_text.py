"""Read TOML tables from a file, with checks of its size, encoding, syntax and depth."""

import re
import tomllib
from pathlib import Path
from typing import Any

from nightune.tuning.errors import Problem, StudyError
from nightune.vocabulary import listing, shown, suggestion

LIMIT_BYTES = 1 << 20
LIMIT_DEPTH = 20
LIMIT_VALUES = 5_000
DATA_FILES = (".csv", ".parquet", ".npz")  # that `nightune init` reads; people give them instead of a study

# Python's TOML parser takes quadratic time for a key of very many parts, so such text is refused before.
_LONG_KEY = re.compile(r"""(?<![\w"'-])(?:["']?[\w-]+["']?[ \t]*\.[ \t]*){40}""")
_PLACE = re.compile(
    r"^(?P<reason>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)$", re.DOTALL
)


def read_tables(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file; StudyError if it cannot be read."""
    text = _read_text(path)
    if _LONG_KEY.search(text):
        raise _too_deep(path)
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise StudyError(str(path), [_syntax_problem(str(error), text)]) from None
    except RecursionError:
        raise _too_deep(path) from None
    except ValueError as error:  # a whole number or a date that Python does not accept
        reason = str(error).split(";")[0]
        raise StudyError(str(path), [Problem("file", f"contains a value that cannot be read: {reason}")]) from None
    _refuse_excess(path, tables)
    return tables


def _read_text(path: Path) -> str:
    try:
        if path.is_dir():
            raise StudyError(str(path), [Problem("file", "is a folder; give a study file (.toml) in it")])
        if not path.exists():
            raise StudyError(str(path), [_missing_file(path)])
        if path.suffix.lower() in DATA_FILES:
            problem = f"is data; write a study for it with `nightune init {path}`, and give that (.toml)"
            raise StudyError(str(path), [Problem("file", problem)])
        if not path.is_file():
            raise StudyError(str(path), [Problem("file", "is not a regular file")])
        with path.open("rb") as file:
            content = file.read(LIMIT_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise StudyError(str(path), [Problem("file", f"cannot be read: {reason}")]) from None
    if len(content) > LIMIT_BYTES:
        raise StudyError(str(path), [Problem("file", "is too large (allowed: up to 1 MiB)")])
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise StudyError(str(path), [Problem(f"line {line}", "is not UTF-8 text; save the file as UTF-8")]) from None


def _missing_file(path: Path) -> Problem:
    folder = path.parent
    if not folder.is_dir():
        return Problem("file", f"does not exist: there is no folder {shown(str(folder))}")
    siblings = sorted(file.name for file in folder.glob("*.toml"))
    return Problem("file", f"does not exist{suggestion(path.name, siblings)} ({listing(siblings, 'studies there')})")


def _too_deep(path: Path) -> StudyError:
    return StudyError(str(path), [Problem("file", f"is nested too deeply (allowed: {LIMIT_DEPTH} levels)")])


def _syntax_problem(message: str, text: str) -> Problem:
    """Return the parser's message with the line that it refers to."""
    place = _PLACE.match(message)
    reason = place["reason"] if place else message
    lines = text.rstrip("\n").split("\n")
    number = int(place["line"]) if place and place["line"] else len(lines)
    line = lines[number - 1].strip() if number <= len(lines) else ""
    return Problem(f"line {number}", f"not TOML: {_plain_reason(reason)}: {shown(line)}")


def _plain_reason(reason: str) -> str:
    """Replace unclear messages of the parser, such as those for duplicate keys."""
    if reason.startswith(("Cannot overwrite", "Cannot declare", "Cannot mutate")):
        return "a key or table is given twice"
    if reason == "Invalid value":
        return 'not a value (a text needs quotes, as in "adam")'
    return reason[:1].lower() + reason[1:]


def _refuse_excess(path: Path, tables: dict[str, Any]) -> None:
    """Limit the depth and the number of values, because later steps recurse and compare all pairs."""
    level: list[Any] = [tables]
    count = 0
    for _ in range(LIMIT_DEPTH):
        children = [child for each in level for child in (each.values() if isinstance(each, dict) else each)]
        count += len(children)
        if count > LIMIT_VALUES:
            raise StudyError(str(path), [Problem("file", f"contains too many values (allowed: up to {LIMIT_VALUES})")])
        level = [child for child in children if isinstance(child, dict | list)]
        if not level:
            return
    raise _too_deep(path)
