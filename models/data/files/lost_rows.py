"""Find what a reader of CSV files loses without an error: the end of a file, and rows behind a quote that is open."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightune.models.data.files.csv_dialects import BLANKS, Dialect

if TYPE_CHECKING:
    import pandas as pd

LAST_BYTES, BLOCK_BYTES = 2**16, 2**22
SHOWN = 40  # characters of a field


def cut_off(file: Path, dialect: Dialect, width: int, name: str) -> tuple[str, ...]:
    """Say that the last line of a file has fewer fields than its header."""
    if dialect.separator == BLANKS or dialect.encoding.startswith(("utf-16", "utf-32")):
        return ()
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - LAST_BYTES))
        lines = stream.read().decode(dialect.encoding, "replace").splitlines()
    last = next((line for line in reversed(lines) if line.strip()), "")
    quotes = last.count('"') - (last.count(f'{dialect.escape}"') if dialect.escape else 0)
    if quotes % 2:  # of a field of several lines
        return ()
    count = len(dialect.fields(last))
    said = f"{name}: its last line has {count} of {width} fields, and the others are gaps; is the file cut off?"
    return (said,) if 0 < count < width else ()


def swallowed_rows(file: Path, table: "pd.DataFrame", dialect: Dialect, name: str) -> tuple[str, ...]:
    """Say that fields hold whole rows: in each of their lines as many fields as the columns, which fit these.

    The first line continues the row before, from the field's column on, and the last one ends in this column.
    """
    width, found = len(table.columns), []
    if dialect.separator == BLANKS or width == 1 or _line_ends(file) <= len(table) + 1:
        return ()
    columns: dict[int, Callable[[str], bool | None]] = {}
    for place, column in enumerate(table.columns):
        if table[column].dtype.kind == "O" or str(table[column].dtype) == "str":
            texts = [text for text in table[column].dropna().unique() if isinstance(text, str) and "\n" in text]
            texts = [text for text in texts if text.count(dialect.separator) == text.count("\n") * (width - 1)]
            if texts and not columns:
                columns = {number: _fits(table[name], dialect) for number, name in enumerate(table.columns)}
            found += [text for text in texts if _holds_rows(text, place, columns, dialect.separator)]
    if not found:
        return ()
    rows, example = sum(text.count("\n") for text in found), " ".join(found[0].split())[:SHOWN]
    problem = f"{name}: {len(found)} fields hold {rows} line ends with the separators of whole rows: {example!r}"
    return (f"{problem}; is a quote open? Close it, or write it twice within quotes",)


def _holds_rows(text: str, place: int, columns: Mapping[int, Callable[[str], bool | None]], separator: str) -> bool:
    """True for a text in the column of a place whose lines are rows: a column of numbers or labels has to say so."""
    lines = [line.removesuffix("\r").split(separator) for line in text.split("\n")]
    width, (first, *inner, last) = len(columns), lines
    if len(first) != width - place or len(last) != place + 1 or any(len(line) != width for line in inner):
        return False
    whole = [*enumerate(first[1:], start=place + 1), *enumerate(last[:-1])]
    whole += [pair for line in inner for pair in enumerate(line) if pair[0] != place]
    answers = [columns[number](field) for number, field in whole]
    return False not in answers and True in answers


def _fits(column: "pd.Series[Any]", dialect: Dialect) -> Callable[[str], bool | None]:
    """Return a test of a field: a value of the column of numbers or labels? None for a gap or a free text."""
    of_gap, known = None if column.isna().any() else False, {str(value) for value in column.dropna().unique()}
    if column.dtype.kind in "iuf":
        return lambda field: _is_number(field, dialect.decimal) if field.strip() else of_gap
    is_free = len(known) > len(column) / 2
    return lambda field: (None if is_free else field in known) if field.strip() else of_gap


def _is_number(field: str, decimal: str) -> bool:
    try:
        float(field.replace(decimal, "."))
    except ValueError:
        return False
    return True


def _line_ends(file: Path) -> int:
    """Count the line ends of a file: with as many as rows, no field can hold one."""
    with file.open("rb") as stream:
        return sum(block.count(b"\n") for block in iter(lambda: stream.read(BLOCK_BYTES), b""))
