"""Imports of large libraries, without the collector of cycles looking through them again and again."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def lasting_imports() -> Iterator[None]:
    """Import in the block what stays until the process ends: the collector rests meanwhile, and leaves it alone later.

    It would take a quarter of the time that Prefect, MLflow and Keras take, and half a second each time that it looks
    through them while trials train. Garbage of before the block is left alone, too, so this is not for loops.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()
