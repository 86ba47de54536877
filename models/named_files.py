"""Find the files that a person's function names as plain texts: a vocabulary, a backbone, tables of numbers.

Their content is part of the function's identity, like its code. Only texts that the function reaches count: those in
it, and in the functions, classes and values of its files that it uses; and the list FILES of its module.
"""

import ast
import hashlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

LISTED = "FILES"  # of a module: names that the code puts together, such as f"vocabulary_{size}.txt"
LONGEST = 255  # characters of a file's name
_DEPTH = 3  # of folders that are named one by one


def named_files(file: Path, function: str, sources: Mapping[Path, bytes]) -> dict[str, Path]:
    """Return the existing files that the function of a file names, by the texts; `sources` are those of its code.

    Names are relative to the file's folder, below folders that are named, too.
    """
    folders, texts = {"": file.parent}, _texts(file, function, tuple(sorted(sources.items())))
    for _ in range(_DEPTH):
        folders |= {
            f"{front}{text}/": place
            for front, folder in list(folders.items())
            for text in texts
            if (place := _place(folder, text)) is not None and place.is_dir() and place != folder
        }
        if len(folders) > LONGEST:
            break
    return {
        f"{front}{text}": place
        for front, folder in sorted(folders.items())
        for text in texts
        if (place := _place(folder, text)) is not None and place.is_file() and place not in sources
    }


@lru_cache(maxsize=64)
def _texts(file: Path, function: str, sources: tuple[tuple[Path, bytes], ...]) -> list[str]:
    reached = _Reached(file.parent, dict(sources))
    reached.visit(file, {function, LISTED})
    return sorted(reached.texts)


def content_digest(file: Path) -> str:
    """Return the digest of a file's content; a file of equal times and size is read once per process."""
    status = file.stat()
    return _digest(file, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=256)
def _digest(file: Path, _modified: int, _size: int) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _place(folder: Path, text: str) -> Path | None:
    if not text or len(text) > LONGEST or "\0" in text or "\n" in text or text.strip("./") == "":
        return None
    try:
        place = (folder / Path(text).expanduser()).resolve()
        return place if place.exists() else None
    except (OSError, RuntimeError):  # a name that is too long, or of an unknown person's folder
        return None


class _Reached:
    """The texts that are reached from some names of a module."""

    def __init__(self, folder: Path, sources: Mapping[Path, bytes]) -> None:
        self._folder, self._sources = folder, sources
        self._seen: set[tuple[Path, str]] = set()
        self.texts: set[str] = set()

    def visit(self, file: Path, names: set[str]) -> None:
        """Add the texts that the names of a file reach; a star stands for all of them."""
        try:
            body = ast.parse(self._sources.get(file, b"")).body
        except (SyntaxError, ValueError):  # reported by the import
            return
        waiting = set(names)
        while waiting:
            name = waiting.pop()
            if (file, name) in self._seen:
                continue
            self._seen.add((file, name))
            for statement in body:
                if name == "*" or name in _defined(statement):
                    waiting |= self._take(file, statement, name)

    def _take(self, file: Path, statement: ast.stmt, name: str) -> set[str]:
        """Add the texts of a statement, or of what it imports; return the names that it uses."""
        if isinstance(statement, ast.Import | ast.ImportFrom):
            for module, names in _imported(statement, name):
                for path in self._files_of(file, module, getattr(statement, "level", 0)):
                    self.visit(path, names)
            return set()
        documentation = {id(each) for each in _docstrings(statement)}
        used = set()
        for node in ast.walk(statement):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
                self.texts.add(node.value)
            elif isinstance(node, ast.Name):
                used.add(node.id)
            elif isinstance(node, ast.Import | ast.ImportFrom):  # within a function
                used |= self._take(file, node, "*")
        return used

    def _files_of(self, file: Path, module: str, level: int) -> list[Path]:
        start = file.parent if level else self._folder
        place = start.joinpath(*module.split(".")) if module else start
        return [path for path in (place.with_suffix(".py"), place / "__init__.py") if path in self._sources]


def _defined(statement: ast.stmt) -> set[str]:
    """Return the names that a statement of a module defines."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).split(".")[0] for alias in statement.names}
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def _imported(statement: ast.Import | ast.ImportFrom, name: str) -> Iterator[tuple[str, set[str]]]:
    """Yield the modules that an import gives under a name, and the names in them that are used."""
    for alias in statement.names:
        if name not in ("*", (alias.asname or alias.name).split(".")[0]):
            continue
        if isinstance(statement, ast.Import):
            yield alias.name, {"*"}
        else:
            module = statement.module or ""
            yield module, {alias.name, LISTED}
            yield f"{module}.{alias.name}".strip("."), {"*"}


def _docstrings(statement: ast.stmt) -> Iterator[ast.Constant]:
    for node in ast.walk(statement):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value
