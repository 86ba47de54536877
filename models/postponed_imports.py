"""Leave out of a large library's import the modules that it imports for its users alone, until someone uses them."""

import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import MappingProxyType, ModuleType
from typing import Any

WARNINGS = "__warningregistry__"  # which the standard library asks of all modules: a module that is not loaded has none

_replacing = threading.Lock()


@contextmanager
def postponed_modules(postponed: Mapping[str, Mapping[str, str]]) -> Iterator[None]:
    """Let imports of these modules in the block return stand-ins, which import the module when it is first used.

    For a module that others import whole (`import a.b`, `from a import b`) and do not use while they are imported. With
    each are the names that it has from other modules, by which these are enough. Modules that are imported already
    stay. After the block, imports of those that were not imported are as usual.
    """
    finder = _PostponingFinder(postponed)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class PostponedModule(ModuleType):
    """Stands in `sys.modules` for a module until something asks it for a name, and forwards to the module then."""

    is_standing = False  # before, the import system asks for names that it will set
    origins: Mapping[str, str] = MappingProxyType({})  # modules of names that the module imports from them

    def __getattr__(self, name: str) -> Any:
        """Return what the module calls by a name, and import it for that; AttributeError without such a name."""
        if name == WARNINGS or not self.is_standing:
            raise AttributeError(name)
        is_enough = name in self.origins and sys.modules.get(self.__name__) is self
        return getattr(import_module(self.origins[name]) if is_enough else self._imported(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set what the module calls by a name, as tests do that replace a function of a library."""
        if self.is_standing:
            setattr(self._imported(), name, value)
        else:
            super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._imported(), name)

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]  # of `vars`
        return self._imported().__dict__ if self.is_standing else super().__dict__

    def __dir__(self) -> list[str]:
        return dir(self._imported())

    def _imported(self) -> ModuleType:
        """Import the module, in whose place the import system puts it in its package, too."""
        with _replacing:
            if sys.modules.get(self.__name__) is self:
                del sys.modules[self.__name__]
        return import_module(self.__name__)


class _PostponingFinder(MetaPathFinder):
    """Finds each module once with a loader that does not load it; the stand-in's own import finds it as usual."""

    def __init__(self, postponed: Mapping[str, Mapping[str, str]]) -> None:
        self._postponed = dict(postponed)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        origins = self._postponed.pop(fullname, None)
        if origins is None:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _PostponingLoader(spec.loader, origins)
        return spec


class _PostponingLoader(Loader):
    """Makes the stand-in, which names the usual loader as its own."""

    def __init__(self, usual: Any, origins: Mapping[str, str]) -> None:
        self._usual, self._origins = usual, origins

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return PostponedModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        assert isinstance(module, PostponedModule)
        module.__loader__ = self._usual
        if module.__spec__ is not None:
            module.__spec__.loader = self._usual
        module.__dict__.pop("__path__", None)  # an import of a module in it asks for its path, and so imports it first
        module.origins, module.is_standing = self._origins, True
