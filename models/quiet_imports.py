"""Keep the output of native code off the terminal while TensorFlow and JAX are imported and initialize their devices.

Their native code writes to standard error at any log level, whoever imports them: Nightune, a library or a user's file.
It goes to a log file in the store instead. Errors are raised as usual.
"""

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, TextIO

from nightune.settings import usable_settings

LOG = "native.log"  # in the store's folder
LOG_BYTES = 2**20  # a longer one is started anew
BACKENDS = ("tensorflow", "jax", "jaxlib")
NATIVE = 2  # the descriptor that native code writes errors to

_ready = threading.Event()  # Keras' backend is loaded, and its devices are initialized


def import_backends_quietly() -> None:
    """From now on, whoever imports a backend imports it with its output logged."""
    if not any(isinstance(finder, _QuietFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _QuietFinder())


def backend_is_ready() -> None:
    """Show from now on what native code writes while a user's code runs."""
    _ready.set()


@contextmanager
def native_output_logged() -> Iterator[None]:
    """Log what native code and child processes write to standard error; what Python code writes is shown.

    For a user's own code, which may import a backend and initialize its devices. Once they are, nothing is logged.
    """
    before, shown = sys.stderr, None if _ready.is_set() else _duplicate(sys.stderr)
    if shown is None:
        yield
        return
    with output_logged():
        sys.stderr = shown
        try:
            yield
        finally:
            if sys.stderr is shown:
                sys.stderr = before
            with suppress(OSError, ValueError):  # the user's code may have closed it
                shown.close()


@contextmanager
def output_logged() -> Iterator[None]:
    """Log all that is written to standard error: by Python's stream, and by native code where that is another file."""
    kept = {descriptor: copy for descriptor in _error_descriptors() if (copy := _copy_of(descriptor)) is not None}
    if not kept:
        yield
        return
    with suppress(AttributeError, OSError, ValueError):
        sys.stderr.flush()
    log = _open_log()
    try:
        for descriptor in kept:
            os.dup2(log, descriptor)
        yield
    finally:
        for descriptor, copy in kept.items():
            os.dup2(copy, descriptor)
            os.close(copy)
        os.close(log)


def _error_descriptors() -> set[int]:
    """Return the descriptors of standard error: in a notebook, Python's stream has none, or one of its own."""
    with suppress(AttributeError, OSError, ValueError):
        return {NATIVE, sys.stderr.fileno()}
    return {NATIVE}


def _copy_of(descriptor: int) -> int | None:
    """Return a copy of a descriptor; None for one that is closed."""
    with suppress(OSError):
        return os.dup(descriptor)
    return None


class _QuietFinder(MetaPathFinder):
    """Finds the backends as usual, with loaders that log."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in BACKENDS:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _QuietLoader(spec.loader)
        return spec


class _QuietLoader(Loader):
    """Loads a module with the usual loader, which the module then names as its own."""

    def __init__(self, usual: Any) -> None:
        self._usual = usual

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._usual.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._usual
        if module.__spec__ is not None:
            module.__spec__.loader = self._usual
        with output_logged():
            self._usual.exec_module(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._usual, name)  # what else is asked of a spec that was only looked up: files, resources


def _duplicate(stream: TextIO) -> TextIO | None:
    """Open a second stream to a stream's file; None for one without a file, as in notebooks and tests."""
    try:
        descriptor = os.dup(stream.fileno())
    except (AttributeError, OSError, ValueError):
        return None
    return os.fdopen(descriptor, "w", buffering=1, encoding=stream.encoding, errors=stream.errors)


def _open_log() -> int:
    """Open the log in the store's folder; the null device where there is none."""
    file = usable_settings().store / LOG
    with suppress(OSError):
        if file.exists() and file.stat().st_size > LOG_BYTES:
            file.unlink()
        if file.parent.is_dir():
            return os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    return os.open(os.devnull, os.O_WRONLY)
