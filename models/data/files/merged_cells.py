"""Cells of a spreadsheet that are merged: only the first of them holds the value that all of them show."""

import re
from collections.abc import Sequence
from typing import Any

from nightune.models.errors import InputError
from nightune.models.library_internals.datasets import content_of_sheet

KEY = "data.source"
_MERGED = re.compile(rb'<(?:\w+:)?mergeCell\s[^>]*ref="([A-Z]+)(\d+):([A-Z]+)(\d+)"')
MOST_ROWS = 1_048_576  # of a sheet of Excel

Range = tuple[str, int, str, int]  # first column and row, last column and row, from A and 1


def merged_ranges(sheet: Any) -> list[Range]:
    """Return the merged cells of a sheet of openpyxl that was opened for reading only."""
    content = content_of_sheet(sheet)
    return [
        (first.decode(), int(top), last.decode(), int(bottom)) for first, top, last, bottom in _MERGED.findall(content)
    ]


def with_merged_values(
    rows: Sequence[Sequence[Any]], ranges: Sequence[Range], header: int, file: str
) -> tuple[list[list[Any]], tuple[str, ...]]:
    """Return the rows of a sheet with the value of merged cells in each of them, and a finding.

    `header` is the row of the names, from 0: cells above and in it stay as they are. InputError for cells that are
    merged across columns, whose value belongs to none of them for certain, unless their rows hold nothing else, as a
    note below the table does.
    """
    filled, cells = [list(row) for row in rows], 0
    below = [each for each in ranges if each[1] - 1 > header]
    for first, top, _, bottom in (each for each in below if each[0] == each[2]):
        place = _place(first)
        for row in filled[top : min(bottom, MOST_ROWS)]:
            if place < len(row):
                row[place] = filled[top - 1][place]
                cells += 1
    for first, top, last, bottom in (each for each in below if each[0] != each[2]):
        if _hold_others(filled[top - 1 : min(bottom, MOST_ROWS)], _place(first), _place(last)):
            problem = f"{file}: the cells {first}{top}:{last}{bottom} are merged across columns"
            raise InputError(KEY, f"{problem}; unmerge them, and write the value of each cell")
    said = f"{file}: {cells} cells that are merged with one above have its value, as in {below[0][0] if below else ''}"
    return filled, (said,) if cells else ()


def _hold_others(rows: Sequence[Sequence[Any]], first: int, last: int) -> bool:
    """True if rows hold a value outside the columns of a range."""
    return any(value not in (None, "") for row in rows for value in (*row[:first], *row[last + 1 :]))


def _place(letters: str) -> int:
    number = 0
    for letter in letters:
        number = 26 * number + ord(letter) - ord("A") + 1
    return number - 1
