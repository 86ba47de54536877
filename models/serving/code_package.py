"""Import a folder of a person's source files as a package of its own name, next to other copies of the same files.

The modules refer to each other by the names that they have in the study's folder (`import layers_lib`). Each gets an
`import` of its own, which looks for these names in its package first. So nothing of the package is found under the
names of other modules in the process, and imports inside functions work at any time.
"""

import builtins
import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

PREFIX = "nightune_code_"  # of the packages' names; the digest of their files follows

_folders: dict[str, Path] = {}  # of the packages that were imported, by name
_libraries: dict[str, Set[str]] = {}
_sources: dict[str, Mapping[Path, bytes]] = {}  # of files that are read here instead of in the folder
_registered: dict[str, dict[str, Any]] = {}  # what the code of a package has registered with Keras


def open_package(
    folder: Path, name: str = "", libraries: Set[str] = frozenset(), sources: Mapping[Path, bytes] | None = None
) -> str:
    """Make the folder a package, and return its name, by default one by the digest of its files.

    A package is imported once per process, as long as its first folder exists. Its code gets modules of the names in
    `libraries` from elsewhere, even if the folder has files of these names. `sources` replace the contents of files.
    """
    finder = next((finder for finder in sys.meta_path if isinstance(finder, _Finder)), None)
    if finder is None:
        sys.meta_path.insert(0, _Finder())
    name = name or f"{PREFIX}{folder_digest(folder)}"
    if name in sys.modules and not _folders[name].is_dir():
        forget_package(name)
    if name not in sys.modules:
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name], _folders[name], _registered[name] = package, folder, {}
        _libraries[name], _sources[name] = libraries, sources or {}
    return name


def files_of(package: str) -> list[Path]:
    """Return the files of the package's folder that were imported so far."""
    modules = [module for name, module in list(sys.modules.items()) if name.startswith(f"{package}.")]
    return [Path(module.__file__) for module in modules if module.__file__ is not None]


def import_file(package: str, file: str) -> ModuleType:
    """Import a file of the package's folder, whatever its name is."""
    name = f"{package}.{Path(file).stem.replace('.', '_')}"
    if name not in sys.modules:
        loader = _Loader(name, str(_folders[package] / file))
        spec = importlib.util.spec_from_file_location(name, loader.path, loader=loader)
        assert spec is not None  # a loader was given
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


def folder_digest(folder: Path) -> str:
    """Return 16 hexadecimal digits over the names and contents of all files in a folder."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(folder).as_posix()} {len(content)} ".encode() + content)
    return digest.hexdigest()[:16]


@contextmanager
def running_code_of(package: str) -> Iterator[None]:
    """Keep what the block sets for the whole process out of it: Keras' settings, registered names, `sys.path`, modules.

    A name that a package registers (`keras.saving.register_keras_serializable`) is known to this package only. Modules
    that are not installed, such as those of a study, are not found. No bytecode is written into the package's folder.
    SystemExit becomes a RuntimeError.
    """
    import keras  # noqa: PLC0415 - seconds, only to open a model

    settings = keras.config
    before = (settings.floatx(), settings.epsilon(), settings.image_data_format(), settings.dtype_policy())
    writes_no_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    path = list(sys.path)
    try:
        with _registry(keras.saving.get_custom_objects(), _registered[package]), _without_modules_of_studies():
            yield
    except SystemExit as error:
        raise RuntimeError(f"the code ended the process: SystemExit({error.code!r})") from error
    finally:
        sys.dont_write_bytecode, sys.path[:] = writes_no_bytecode, path
        settings.set_floatx(before[0])
        settings.set_epsilon(before[1])
        settings.set_image_data_format(before[2])
        settings.set_dtype_policy(before[3])


@contextmanager
def without_registered_names() -> Iterator[None]:
    """Let Keras find no class or function that the code of this process has registered."""
    import keras  # noqa: PLC0415 - seconds, only to open a model

    with _registry(keras.saving.get_custom_objects(), {}):
        yield


@contextmanager
def _registry(shared: dict[str, Any], own: dict[str, Any]) -> Iterator[None]:
    """Replace the content of Keras' registry by `own` inside the block, and keep what it holds at the end there."""
    before = dict(shared)
    _fill(shared, own)
    try:
        yield
    finally:
        _fill(own, dict(shared))
        _fill(shared, before)


@contextmanager
def _without_modules_of_studies() -> Iterator[None]:
    """Hide the modules that are not installed inside the block, and those that the block imports after it."""
    hidden = {name: module for name, module in sys.modules.items() if _is_of_a_study(name, module)}
    for name in hidden:
        del sys.modules[name]
    try:
        yield
    finally:
        for name in [name for name, module in list(sys.modules.items()) if _is_of_a_study(name, module)]:
            del sys.modules[name]
        sys.modules.update(hidden)


def _is_of_a_study(name: str, module: ModuleType) -> bool:
    """True for modules of files that no distribution has installed, except Nightune's and its copies of users' code."""
    file = getattr(module, "__file__", None)
    if not isinstance(file, str) or name in ("__main__", "__mp_main__") or name.startswith("nightune"):
        return False
    is_installed = "site-packages" in file or "dist-packages" in file
    return not is_installed and not file.startswith((f"{sys.prefix}{os.sep}", f"{sys.base_prefix}{os.sep}"))


def _fill(held: dict[str, Any], content: dict[str, Any]) -> None:
    content = dict(content)
    held.clear()
    held.update(content)


class _Finder:
    """Finds the modules of packages of this file's kind; all others are left to Python."""

    def find_spec(self, name: str, path: Any = None, _target: ModuleType | None = None) -> ModuleSpec | None:
        package = name.partition(".")[0]
        if path is None or package not in _folders:
            return None
        importlib.invalidate_caches()
        spec = PathFinder.find_spec(name, path)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(name, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    """Compiles the source each time, and gives the module the `import` of its package."""

    def get_data(self, path: str) -> bytes:
        held = _sources[self.name.partition(".")[0]].get(Path(path))
        return super().get_data(path) if held is None else held

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)

    def exec_module(self, module: ModuleType) -> None:
        package = module.__name__.partition(".")[0]
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": _importing_first(package)}
        super().exec_module(module)


def _importing_first(package: str) -> Callable[..., Any]:
    """Return an `__import__` that looks for absolute names in the package first."""

    def import_(name: str, *given: Any, **named: Any) -> Any:
        names = dict(zip(("globals", "locals", "fromlist", "level"), given, strict=False)) | named
        top = name.partition(".")[0]
        if names.get("level", 0) or not _holds(package, top):
            return builtins.__import__(name, *given, **named)
        module = builtins.__import__(f"{package}.{name}", *given, **named)
        return module if names.get("fromlist") else sys.modules[f"{package}.{top}"]

    return import_


def _holds(package: str, top: str) -> bool:
    if top in _libraries[package]:
        return False
    known = f"{package}.{top}"
    return known in sys.modules or importlib.util.find_spec(known) is not None


def forget_package(name: str) -> None:
    """Remove a package and its modules from the process."""
    for module in [each for each in sys.modules if each == name or each.startswith(f"{name}.")]:
        del sys.modules[module]
