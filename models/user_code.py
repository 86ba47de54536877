"""Functions in a user's own files, named in a study as `path/to/file.py:function`."""

import ast
import hashlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from nightune.models.error_causes import cause_of, is_own_file, users_line
from nightune.models.errors import InputError
from nightune.models.kept_code import KeptLoader, keep, kept_digest, kept_files
from nightune.models.named_files import named_files
from nightune.models.quiet_imports import native_output_logged
from nightune.vocabulary import ARCHITECTURE, unknown_name

NO_ARGUMENTS: Mapping[str, Any] = MappingProxyType({})
_REFERENCE = re.compile(r"(?P<file>.+\.py):(?P<function>[^\W\d]\w*)")

# Modules that users' files imported from their own folders. They are removed before the next file is imported, which
# may refer to another module of the same name, or to a newer version.
_neighbours: set[str] = set()


def is_reference(name: str) -> bool:
    """True if the name refers to a user's file, well-formed or not."""
    return name.endswith(".py") or ".py:" in name


def load_function(reference: str, folder: Path, key: str) -> Callable[..., Any]:
    """Import the file (relative to the folder) and return its function; InputError gives the key and the remedy.

    An unchanged or kept file is imported once per process. Its own folder is on `sys.path` during the import.
    """
    file, function = find_reference(reference, folder, key)
    module = _import(file, key)
    if function not in vars(module):
        raise InputError(key, f"{file.name}: {unknown_name(function, _own_functions(module), 'function')}")
    loaded = vars(module)[function]
    if not callable(loaded):
        raise InputError(key, f"{file.name}: {function!r} is not a function but a {type(loaded).__name__}")
    return loaded  # type: ignore[no-any-return]


def _own_functions(module: ModuleType) -> list[str]:
    """Return the public functions that a module defines itself, or all that it holds if it defines none."""
    public = {name: value for name, value in vars(module).items() if callable(value) and not name.startswith("_")}
    own = [name for name, value in public.items() if getattr(value, "__module__", "") == module.__name__]
    return sorted(own or public)


def load_loss_function(reference: str, folder: Path) -> Callable[..., Any]:
    """Return a user's loss, a function of (y_true, y_pred); InputError if it takes other arguments."""
    key = "training.loss"
    function = load_function(reference, folder, key)
    try:
        inspect.signature(function).bind(None, None)
    except TypeError as error:
        raise InputError(key, f"{reference} must take (y_true, y_pred): {error}") from error
    except ValueError:  # no readable signature: its first call shows
        pass
    return function


def call_function(reference: str, folder: Path, key: str, arguments: Mapping[str, Any] = NO_ARGUMENTS) -> Any:
    """Load the function and call it with arguments by name; its exceptions become InputErrors with file and line.

    InputError for names that it does not take, and for arguments that it needs and are not given.
    """
    function = load_function(reference, folder, key)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # no readable signature: the call shows
        return bind_function(reference, folder, key)(**arguments)
    try:
        signature.bind(**arguments)
    except TypeError as error:
        taken = f"{find_reference(reference, folder, key)[1]}{signature}"
        given = ", ".join(arguments) or "none"
        problem = f"{reference} is {taken}: {error} (given: {given}); arguments = {{ name = value }} gives them by name"
        raise InputError("data.arguments", problem) from error
    return bind_function(reference, folder, key)(**arguments)


def bind_function(reference: str, folder: Path, key: str) -> Callable[..., Any]:
    """Load the function; its exceptions when called become InputErrors with file and line."""
    function = load_function(reference, folder, key)
    file, name = find_reference(reference, folder, key)

    def call(*arguments: Any, **named: Any) -> Any:
        try:
            with folder_on_path(file.parent), native_output_logged():
                return function(*arguments, **named)
        except (Exception, SystemExit) as error:
            raise InputError(key, f"{name}() of {file.name} raised {_described(error, file)}") from error

    return call


@contextmanager
def running(reference: str, folder: Path, key: str) -> Iterator[None]:
    """Run code of the function's author in the block, after it has returned; its exceptions become InputErrors."""
    file, name = find_reference(reference, folder, key)
    try:
        with folder_on_path(file.parent), native_output_logged():
            yield
    except (InputError, MemoryError):
        raise
    except Exception as error:
        raise InputError(key, f"what {name}() of {file.name} returned raised {_described(error, file)}") from error


def find_reference(reference: str, folder: Path, key: str) -> tuple[Path, str]:
    """Return the file and the function of a reference; InputError gives the key and the remedy."""
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        allowed = "path/to/file.py:function"
        arguments = "; its arguments stand apart: arguments = { name = value } in [data]" if "(" in reference else ""
        raise InputError(key, f"{reference!r} is not a reference to a function (allowed: {allowed}){arguments}")
    file = (folder / Path(match["file"]).expanduser()).resolve()
    if kept_files(file) is None and not file.is_file():
        siblings = sorted(path.name for path in file.parent.glob("*.py")) if file.parent.is_dir() else []
        raise InputError(key, f"no file {match['file']!r} in {folder}: {unknown_name(file.name, siblings, 'file')}")
    return file, match["function"]


def source_digest(reference: str, folder: Path, key: str = ARCHITECTURE) -> str:
    """Identify the code of a reference: 16 hexadecimal digits over its file and the local files that it imports.

    The files that it names as texts (named_files.py) count, too. Empty for a name that is not a reference.
    """
    if not is_reference(reference):
        return ""
    file, function = find_reference(reference, folder, key)
    data = "".join(f" {name} {digest}" for name, digest in read_digests(reference, folder, key).items())
    return hashlib.sha256(f"{function} {_digest(file)}{data}".encode()).hexdigest()[:16]


def read_digests(reference: str, folder: Path, key: str = ARCHITECTURE) -> dict[str, str]:
    """Return the digests of the files that a reference names as texts, by their names; those kept as they were."""
    file, function = find_reference(reference, folder, key)
    found = named_files(file, function, _files(file))
    return {name: kept_digest(path) for name, path in sorted(found.items())}


@contextmanager
def folder_on_path(folder: Path) -> Iterator[None]:
    """Put a folder on `sys.path` in the block, so that its modules can be imported.

    No bytecode is written: it identifies a source by its time in seconds and its size, which misses quick edits.
    """
    folder = folder.absolute()  # as the files of its modules are
    before = list(sys.modules)
    writes_no_bytecode = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.dont_write_bytecode = writes_no_bytecode
        _neighbours.update(_imported_since(before, folder))
        with suppress(ValueError):  # the user's code may have removed it
            sys.path.remove(str(folder))


def _imported_since(before: list[str], folder: Path) -> list[str]:
    """Return the names of the folder's modules that were not imported before.

    A metric is computed thousands of times and seldom imports anything: equal lists are compared without a set of them.
    """
    names = list(sys.modules)
    if names == before:
        return []
    # Another thread may take back a failed import.
    modules = {name: sys.modules.get(name) for name in set(names) - set(before)}
    return [name for name, module in modules.items() if module is not None and lies_in(folder, module)]


def lies_in(folder: Path, module: ModuleType) -> bool:
    """True if a module's file, or a package without `__init__.py`, is the folder's own: not of an environment there."""
    file = getattr(module, "__file__", None)
    places = getattr(module, "__path__", ()) if file is None else (file,)
    return any(isinstance(place, str) and is_own_file(Path(place), folder) for place in places)


def _import(file: Path, key: str) -> ModuleType:
    name = f"nightune_user_{hashlib.sha256(f'{file} {_digest(file)}'.encode()).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    for neighbour in _neighbours:
        sys.modules.pop(neighbour, None)
    _neighbours.clear()
    loader = KeptLoader(name, str(file))
    spec = importlib.util.spec_from_file_location(name, file, loader=loader)
    assert spec is not None  # a loader was given
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before execution: dataclasses and pickle look it up
    try:
        with folder_on_path(file.parent), native_output_logged():
            loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, Exception | SystemExit):
            raise InputError(key, f"importing {file.name} raised {_described(error, file)}") from error
        raise
    return module


def _described(error: BaseException, file: Path) -> str:
    """The error's type and cause, and the last line of the user's files in the traceback."""
    cause = cause_of(error)
    if isinstance(error, SyntaxError) and error.filename == str(file):
        cause = f"{type(error).__name__}: {error.msg}"
    line = users_line(error, file.parent)
    return f"{cause} ({line})" if line else cause


def source_files(reference: str, folder: Path, key: str = ARCHITECTURE) -> dict[Path, bytes]:
    """Return the contents of a reference's file and of the local files that it imports; empty for another name."""
    return _files(find_reference(reference, folder, key)[0]) if is_reference(reference) else {}


def _digest(file: Path) -> str:
    """Hash the file and the files of its folder that it imports, directly or indirectly, with their names."""
    found = _files(file)
    digest = hashlib.sha256()
    for path in sorted(found):
        digest.update(f"{path.relative_to(file.parent).as_posix()} {len(found[path])} ".encode() + found[path])
    return digest.hexdigest()


def _files(file: Path) -> dict[Path, bytes]:
    kept = kept_files(file)
    if kept is not None:
        return kept
    found: dict[Path, bytes] = {}
    waiting = [file]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found[path] = path.read_bytes()
            waiting += _imported_files(found[path], file.parent)
    keep(file, found)
    return found


def _imported_files(source: bytes, folder: Path) -> Iterator[Path]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # reported by the import
        return
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        for top in {name.split(".")[0] for name in names}:
            package = folder / top
            yield from [path for path in (folder / f"{top}.py", *package.rglob("*.py")) if path.is_file()]
