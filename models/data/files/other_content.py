"""Refuse a file whose first bytes are of another kind than its name says, with the name that it needs."""

from pathlib import Path

from nightune.models.data.files.kinds import TEXTS, suffixes
from nightune.models.errors import InputError

KEY = "data.source"
START = 64  # bytes
POINTER = b"version https://git-lfs"
PARQUET = b"PAR1"  # the first and the last bytes
# The first bytes of files that are no texts of a table, and what to do; lower case for web pages.
STARTS = {
    b"\x1f\x8b": "is packed by gzip: add .gz to its name",
    b"PK\x03\x04": "is an Excel file or a zip archive: name it .xlsx, or add .zip to its name",
    PARQUET: "is a Parquet file: name it .parquet",
    b"ARROW1\0\0": "is a Feather file: name it .feather",
    b"SQLite format 3": "is a database of SQLite: name it .sqlite",
    b"\x89HDF": "is an HDF5 file: name it .h5",
    b"\x93NUMPY": "is an array of NumPy: name it .npy",
    b"<!doctype html": "is a page of the web, perhaps one to log in: download the file itself",
    b"<html": "is a page of the web, perhaps one to log in: download the file itself",
}
_JSON = (b"[{", b'{"')


def refuse_other_content(file: Path, kind: str) -> None:
    """Refuse texts of a table that are none, JSON by the name of CSV, and pointers in place of any file."""
    with file.open("rb") as stream:
        start = stream.read(START)
        stream.seek(max(0, file.stat().st_size - len(PARQUET)))
        end = stream.read()
    found = "is a pointer of Git LFS: fetch its content (git lfs pull)" if start.startswith(POINTER) else ""
    if kind in TEXTS and not suffixes(file)[1]:
        is_text = start.startswith(PARQUET) and end != PARQUET  # such as a column named PAR1
        found = found or ("" if is_text else _other_kind(start, kind))
    if found:
        raise InputError(KEY, f"{file.name} {found}")


def _other_kind(start: bytes, kind: str) -> str:
    forms = (start, start.lstrip().lower())
    known = next((said for mark, said in STARTS.items() if any(each.startswith(mark) for each in forms)), "")
    is_json = kind == "csv" and start.lstrip().startswith(_JSON)
    return known or ("is JSON: name it .json" if is_json else "")
