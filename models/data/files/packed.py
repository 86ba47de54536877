"""Unpack a file of texts, as .gz, .bz2, .xz or .zip, for the time that it is read."""

import bz2
import gzip
import lzma
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from nightune.models.data.files.kinds import suffixes
from nightune.models.errors import InputError

KEY = "data.source"


@contextmanager
def unpacked(file: Path) -> Iterator[Path]:
    """Return a file that is not packed as it is, and the content of one that is as a file in the block."""
    _, packing = suffixes(file)
    if not packing:
        yield file
        return
    with tempfile.TemporaryDirectory(prefix="nightune-") as folder:
        plain = Path(folder) / file.stem
        try:
            with _opened(file, packing) as content, plain.open("wb") as copy:
                shutil.copyfileobj(content, copy, 2**20)
        except (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, OSError) as error:
            raise InputError(KEY, f"{file.name} cannot be unpacked (truncated?): {error}") from error
        except (RuntimeError, NotImplementedError) as error:  # of zipfile: a password, another compression
            raise InputError(
                KEY, f"{file.name} cannot be unpacked ({error}); unpack it, and name the file in it"
            ) from error
        yield plain


@contextmanager
def _opened(file: Path, packing: str) -> Iterator[IO[bytes]]:
    if packing != ".zip":
        read: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
        with read[packing](file) as content:
            yield content
        return
    with zipfile.ZipFile(file) as archive:
        held = [name for name in archive.namelist() if not _is_hidden(name)]
        if len(held) != 1:
            names = ", ".join(sorted(held)[:5]) or "nothing"
            raise InputError(KEY, f"{file.name} holds {len(held)} files ({names}); one is needed: unpack it")
        with archive.open(held[0]) as content:
            yield content


def _is_hidden(name: str) -> bool:
    """True for folders, and for what a Mac adds beside the files."""
    return name.endswith("/") or name.startswith("__MACOSX/") or Path(name).name.startswith(".")
