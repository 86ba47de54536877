"""Import large libraries without repeated garbage collection of their objects, and without what they do not require."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import cast


@contextmanager
def lasting_imports() -> Iterator[None]:
    """Disable the garbage collector during imports in the block, and exclude the new objects from later collections.

    Collection would take a quarter of the import time of Prefect, MLflow and Keras, and half a second per full
    collection while trials train. Garbage from before the block is excluded as well, so do not use this in loops.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


@contextmanager
def without_modules(*names: str) -> Iterator[None]:
    """Let imports of these modules fail in the block, for libraries that import them only if they are installed.

    Modules that are imported already stay. After the block all can be imported as usual.
    """
    modules = cast("dict[str, ModuleType | None]", sys.modules)
    absent = [name for name in names if name not in modules]
    modules |= dict.fromkeys(absent)  # with None, the import system raises ModuleNotFoundError
    try:
        yield
    finally:
        for name in absent:
            if name in modules and modules[name] is None:
                del modules[name]
