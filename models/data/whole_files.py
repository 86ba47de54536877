"""Replace files beside prepared data in one step: a reader sees the earlier content or the new one."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any


def replace_file(place: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Write a file that all users may read; `write` gets it opened for bytes. OSError leaves the earlier content."""
    with tempfile.NamedTemporaryFile(dir=place.parent, suffix=".tmp", delete=False) as file:
        part = Path(file.name)
        try:
            write(file)
        except BaseException:
            part.unlink()
            raise
    part.chmod(0o644)  # only the owner can read a temporary file
    part.replace(place)


def replace_text(place: Path, text: str) -> None:
    """Write a text in UTF-8, as `replace_file`."""
    replace_file(place, lambda file: file.write(text.encode()))
