"""Find the files that a person's function names as plain texts: a vocabulary, a backbone, tables of numbers.

Their content is part of the function's identity, like its code. Only texts that the function reaches count: those in
it, and in the functions, classes and values of its files that it uses, with what changes these when a module is
imported; and the list FILES of its module. Files of the list WRITTEN do not count: the function writes them itself.
"""

import ast
import hashlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

LISTED = "FILES"  # of a module: names that the code puts together, such as f"vocabulary_{size}.txt"
WRITTEN = "WRITTEN"  # of a module: names of files that the code writes, such as a cache
LONGEST = 255  # characters of a file's name
_DEPTH = 3  # of folders that are named one by one


def named_files(file: Path, function: str, sources: Mapping[Path, bytes]) -> dict[str, Path]:
    """Return the existing files that the function of a file names, by the texts; `sources` are those of its code.

    Names are relative to the file's folder, below folders that are named, too.
    """
    texts, _ = _texts(file, function, tuple(sorted(sources.items())))
    folders, own = {"": file.parent}, written_files(file, function, sources)
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
        if place not in own
    }


def written_files(file: Path, function: str, sources: Mapping[Path, bytes]) -> set[Path]:
    """Return the existing files that the lists WRITTEN of a function's files name."""
    _, written = _texts(file, function, tuple(sorted(sources.items())))
    return {place for text in written if (place := _place(file.parent, text)) is not None}


@lru_cache(maxsize=64)
def _texts(file: Path, function: str, sources: tuple[tuple[Path, bytes], ...]) -> tuple[list[str], list[str]]:
    """Return the texts that the function reaches, and those of the lists WRITTEN of its files."""
    reached = _Reached(file.parent, dict(sources))
    reached.visit(file, {function, LISTED})
    written = [text for source in dict(sources).values() for text in _listed(source, WRITTEN)]
    return sorted(reached.texts), sorted(set(written))


def _listed(source: bytes, name: str) -> list[str]:
    """Return the texts of a list of a module."""
    lists = [each for each in _body(source) if isinstance(each, ast.Assign | ast.AnnAssign) and name in _defined(each)]
    nodes = [node for each in lists for node in ast.walk(each) if isinstance(node, ast.Constant)]
    return [node.value for node in nodes if isinstance(node.value, str)]


def _body(source: bytes) -> list[ast.stmt]:
    try:
        return ast.parse(source).body
    except (SyntaxError, ValueError):  # reported by the import
        return []


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
        body = _body(self._sources.get(file, b""))
        functions = {each.name: each for each in body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
        own = {name for each in body if not isinstance(each, ast.Import | ast.ImportFrom) for name in _defined(each)}
        waiting = set(names)
        while waiting:
            name = waiting.pop()
            if (file, name) in self._seen:
                continue
            self._seen.add((file, name))
            for statement in body:
                is_changed = name in own and _may_change(statement, name, functions)
                if name == "*" or name in _defined(statement) or is_changed or _gives_all(statement):
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
        start = file.parents[level - 1] if level else self._folder
        place = start.joinpath(*module.split(".")) if module else start
        return [path for path in (place.with_suffix(".py"), place / "__init__.py") if path in self._sources]


def _defined(statement: ast.stmt) -> set[str]:
    """Return the names that a statement of a module defines."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).split(".")[0] for alias in statement.names} - {"*"}
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def _gives_all(statement: ast.stmt) -> bool:
    """True for `from module import *`."""
    return isinstance(statement, ast.ImportFrom) and any(alias.name == "*" for alias in statement.names)


def _may_change(statement: ast.stmt, name: str, functions: Mapping[str, ast.stmt]) -> bool:
    """True for a statement that uses a name when its module is imported, perhaps by a function that it calls.

    Definitions, assignments of other names and the main program do not count.
    """
    is_value = isinstance(statement, ast.Assign | ast.AnnAssign) and bool(_defined(statement))
    is_definition = isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    if is_value or is_definition or (isinstance(statement, ast.If) and "__name__" in _used(statement.test)):
        return False
    used = _used(statement)
    called = [functions[each] for each in used if each in functions]
    changed = {each for function in called for each in _globals(function)}
    return name in used or name in changed


def _used(node: ast.AST) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load)}


def _globals(function: ast.stmt) -> set[str]:
    """Return the names of a module that a function assigns or uses."""
    assigned = {name for each in ast.walk(function) if isinstance(each, ast.Global) for name in each.names}
    return assigned | _used(function)


def _imported(statement: ast.Import | ast.ImportFrom, name: str) -> Iterator[tuple[str, set[str]]]:
    """Yield the modules that an import gives under a name, and the names in them that are used."""
    for alias in statement.names:
        if alias.name == "*":
            yield getattr(statement, "module", None) or "", {name, LISTED}
        elif name not in ("*", (alias.asname or alias.name).split(".")[0]):
            continue
        elif isinstance(statement, ast.Import):
            yield alias.name, {"*"}
        else:
            module = statement.module or ""
            yield module, {alias.name, LISTED}
            yield f"{module}.{alias.name}".strip("."), {"*"}


def _docstrings(statement: ast.stmt) -> Iterator[ast.Constant]:
    for node in ast.walk(statement):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value
