"""Keep users' code as it is when a sweep first uses it: files that are edited meanwhile change no trial.

An edit would otherwise train the trials after it by other code under the keys of the old one, or stop them if it is
half done. What else reads a source, such as TensorFlow's AutoGraph and tracebacks, reads the kept one, too.
"""

import linecache
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType

from nightune.models.named_files import content_digest


@dataclass(frozen=True)
class KeptCode:
    """The files that a block has kept so far. It can be sent to another process, which then uses the same ones."""

    files: dict[Path, dict[Path, bytes]] = field(default_factory=dict)  # by the file that a study names
    sources: dict[Path, bytes] = field(default_factory=dict)  # of these files and of those that they import
    modules: set[str] = field(default_factory=set)  # top-level names of these files
    digests: dict[Path, str] = field(default_factory=dict)  # of other files that the code reads
    reported: set[Path] = field(default_factory=set)

    @property
    def count(self) -> int:
        """The number of the files so far: none is ever dropped."""
        return len(self.sources) + len(self.digests)


_kept: KeptCode | None = None  # of the process: trials are written in another thread than they are trained in


@contextmanager
def code_kept() -> Iterator[None]:
    """Keep the files in the block as they are when it first uses them; an inner block belongs to the outer one."""
    global _kept  # noqa: PLW0603 - see there
    if _kept is not None:
        yield
        return
    _kept, finder = KeptCode(), _KeptFinder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        for path in _kept.sources:
            linecache.cache.pop(str(path), None)
        sys.meta_path.remove(finder)
        _kept = None


def keep(file: Path, sources: dict[Path, bytes]) -> None:
    """Keep a file that a study names: its source and those of the files that it imports; nothing outside of a block."""
    if _kept is None:
        return
    _kept.files[file] = sources
    _kept.sources.update(sources)
    for path, source in sources.items():
        _kept.modules.add(path.relative_to(file.parent).parts[0].removesuffix(".py"))
        lines = source.decode("utf-8", "replace").splitlines(keepends=True)
        linecache.cache[str(path)] = (len(source), None, lines, str(path))  # without a time it is not read again


def kept_code() -> KeptCode:
    """Return what the block has kept so far."""
    return KeptCode() if _kept is None else _kept


def adopt(code: KeptCode) -> None:
    """Keep what another process has kept, as if this one had used the files first at the same time."""
    for file, sources in code.files.items():
        if _kept is not None and file not in _kept.files:
            keep(file, sources)
    if _kept is not None:
        _kept.digests.update(code.digests)


def kept_files(file: Path) -> dict[Path, bytes] | None:
    """Return the kept sources of a file that a study names and of those that it imports; None if it is not kept."""
    return None if _kept is None else _kept.files.get(file)


def kept_sources() -> dict[Path, bytes]:
    """Return the kept sources by path; none outside of a block."""
    return {} if _kept is None else dict(_kept.sources)


def kept_digest(file: Path) -> str:
    """Return the digest of a file that is no code; in a block that of its content at its first use there."""
    if _kept is None:
        return content_digest(file)
    if file not in _kept.digests:
        _kept.digests[file] = content_digest(file)
    return _kept.digests[file]


def newly_edited() -> list[Path]:
    """Return the kept sources that now have another content or are gone, each once in a block."""
    if _kept is None:
        return []
    edited = [path for path, source in _kept.sources.items() if path not in _kept.reported and _read(path) != source]
    _kept.reported.update(edited)
    return sorted(edited)


def newly_changed() -> list[Path]:
    """Return the other files with a kept digest that have another content or are gone, each once in a block."""
    if _kept is None:
        return []
    known = _kept.digests.items()
    changed = [path for path, digest in known if path not in _kept.reported and _digest_of(path) != digest]
    _kept.reported.update(changed)
    return sorted(changed)


class KeptLoader(SourceFileLoader):
    """Compiles the source each time, ignoring bytecode: the kept source if there is one."""

    def get_data(self, path: str) -> bytes:
        """Return the kept source, or the file's content."""
        held = None if _kept is None else _kept.sources.get(Path(path))
        return super().get_data(path) if held is None else held

    def get_code(self, fullname: str) -> CodeType:
        """Compile the source."""
        return self.source_to_code(self.get_data(self.path), self.path)


class _KeptFinder:
    """Finds the modules of kept files; all others are left to Python."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if _kept is None or name.partition(".")[0] not in _kept.modules:
            return None
        for folder in map(Path, sys.path if path is None else path):
            package = folder / name.rpartition(".")[2]
            for file in (package / "__init__.py", package.with_suffix(".py")):
                if file in _kept.sources:
                    return spec_from_file_location(name, file, loader=KeptLoader(name, str(file)))
        return None


def _digest_of(path: Path) -> str:
    try:
        return content_digest(path)
    except OSError:
        return ""


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
