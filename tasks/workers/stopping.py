"""Stop a worker: what it trains ends with its epoch, and stays unfinished; trained trials are still written."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_is_stopped = threading.Event()
_is_working = threading.Lock()


@contextmanager
def working() -> Iterator[None]:
    """Let a stop wait until the block has ended; a stopped process ends with it."""
    with _is_working:
        try:
            yield
        finally:
            if _is_stopped.is_set():
                os._exit(0)


def stop() -> None:
    """End this process as soon as it trains nothing."""
    _is_stopped.set()
    threading.Thread(target=_exit_when_idle, daemon=True).start()


def refuse_stopped() -> None:
    """Raise KeyboardInterrupt, as Ctrl-C does in a process that trains by itself, once the worker is stopped."""
    if _is_stopped.is_set():
        raise KeyboardInterrupt


def _exit_when_idle() -> None:
    with _is_working:
        os._exit(0)
