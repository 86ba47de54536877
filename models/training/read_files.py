"""Watch which files of a folder a block reads and writes, by Python's audit events and by HDF5."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py


@dataclass
class Watch:
    """Files of a folder that a thread has read and written, as absolute paths."""

    folder: str
    thread: int = field(default_factory=threading.get_ident)
    read: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)

    def note(self, place: Any, mode: Any) -> None:
        if threading.get_ident() != self.thread or not isinstance(place, str | bytes | os.PathLike):
            return
        path = os.path.abspath(os.fsdecode(place))  # noqa: PTH100 - pathlib is slow for every opened file
        if path.startswith(f"{self.folder}{os.sep}"):
            if not mode or "r" in str(mode):
                self.read.add(path)
            if set(str(mode or "")) & set("wax+"):
                self.written.add(path)


_watches: list[Watch] = []
_hooks: list[Any] = []  # Python cannot remove one


@contextmanager
def files_watched(folder: Path) -> Iterator[Watch]:
    """Yield the absolute paths of the files in the folder that this thread reads and writes in the block.

    Files that a library opens by itself, outside Python and h5py, are not noticed.
    """
    if not _hooks:
        _hooks.append(_hook)
        sys.addaudithook(_hook)
    watch = Watch(str(folder))
    begin = h5py.File.__init__

    def begin_file(self: Any, name: Any, mode: str = "r", *values: Any, **options: Any) -> None:
        watch.note(name, mode)
        begin(self, name, mode, *values, **options)

    _watches.append(watch)
    h5py.File.__init__ = begin_file
    try:
        yield watch
    finally:
        h5py.File.__init__ = begin
        _watches.remove(watch)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _watches:
        for watch in _watches:
            watch.note(arguments[0], arguments[1] or _mode(arguments[2]))


def _mode(flags: Any) -> str:
    """Return how `os.open` opens a file, which has no mode: a log that is only written to is not read."""
    access = flags & (os.O_RDONLY | os.O_WRONLY | os.O_RDWR) if isinstance(flags, int) else os.O_RDONLY
    return {os.O_WRONLY: "a", os.O_RDWR: "r+"}.get(access, "r")
