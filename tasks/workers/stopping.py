"""Stop a worker: what it trains ends with its epoch, and stays unfinished; trained trials are still written."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from nightune.tasks.trial.interrupts import is_interrupted, remember_interrupt

_is_working = threading.Lock()


@contextmanager
def working() -> Iterator[None]:
    """Let a stop wait until the block has ended; a stopped process ends with it."""
    with _is_working:
        try:
            yield
        finally:
            if is_interrupted():
                os._exit(0)


def stop() -> None:
    """End this process as soon as it trains nothing."""
    remember_interrupt()
    threading.Thread(target=_exit_when_idle, daemon=True).start()


def _exit_when_idle() -> None:
    with _is_working:
        os._exit(0)
