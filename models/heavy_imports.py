"""Import large libraries without repeated garbage collection of their objects."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


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
