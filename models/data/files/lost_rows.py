"""Find what a reader of CSV files loses without an error: the end of a file, and rows behind a quote that is open."""

import csv
from pathlib import Path
from typing import TYPE_CHECKING

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
    if last.count('"') % 2:  # of a field of several lines
        return ()
    count = len(next(csv.reader([last], delimiter=dialect.separator), []))
    said = f"{name}: its last line has {count} of {width} fields, and the others are gaps; is the file cut off?"
    return (said,) if 0 < count < width else ()


def swallowed_rows(file: Path, table: "pd.DataFrame", dialect: Dialect, name: str) -> tuple[str, ...]:
    """Say that fields hold whole rows: as many separators for each of their line ends as a row has."""
    width, found = len(table.columns), []
    if dialect.separator == BLANKS or width == 1 or _line_ends(file) <= len(table) + 1:
        return ()
    for column in table.columns:
        if table[column].dtype.kind == "O" or str(table[column].dtype) == "str":
            texts = [text for text in table[column].dropna().unique() if isinstance(text, str) and "\n" in text]
            found += [text for text in texts if text.count(dialect.separator) >= text.count("\n") * (width - 1)]
    if not found:
        return ()
    rows, example = sum(text.count("\n") for text in found), " ".join(found[0].split())[:SHOWN]
    problem = f"{name}: {len(found)} fields hold {rows} line ends with the separators of whole rows: {example!r}"
    return (f"{problem}; is a quote open? Close it, or write it twice within quotes",)


def _line_ends(file: Path) -> int:
    """Count the line ends of a file: with as many as rows, no field can hold one."""
    with file.open("rb") as stream:
        return sum(block.count(b"\n") for block in iter(lambda: stream.read(BLOCK_BYTES), b""))
