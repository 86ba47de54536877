"""Pause Python's cyclic garbage collector where MLflow makes many objects that all live on."""

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_blocks: list[bool] = []  # that run now, in all threads: whether the collector ran when each began


@contextmanager
def collector_paused() -> Iterator[None]:
    """Let no collection run in the block, in any thread.

    For a page of 1,000 runs MLflow's database layer makes 200,000 objects; the collector would look through all objects
    of the process again and again, which takes two thirds of the time.
    """
    with _lock:
        _blocks.append(gc.isenabled() or any(_blocks))
        gc.disable()
    try:
        yield
    finally:
        with _lock:
            ran = _blocks.pop()
            if ran and not _blocks:
                gc.enable()
