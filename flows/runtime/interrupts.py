"""An interrupt that a library loses is given again.

Python raises KeyboardInterrupt wherever the main thread happens to be. In a finalizer, or in a callback of the garbage
collector such as JAX', it is printed and forgotten, and what should stop would go on.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

AGAIN_SECONDS = 0.2  # until the main thread has left where the interrupt was lost


@contextmanager
def lost_interrupts_given_again() -> Iterator[None]:
    """While the block runs, send this process SIGTERM where an order to stop was lost: an exception that is no error.

    SIGTERM must raise in the main thread, as it does in the commands and in a served night.
    """
    before, pending = sys.unraisablehook, list[threading.Timer]()

    def look(lost: "sys.UnraisableHookArgs") -> None:
        if issubclass(lost.exc_type, Exception):
            before(lost)
            return
        again = threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), signal.SIGTERM))
        again.daemon = True
        pending.append(again)
        again.start()

    sys.unraisablehook = look
    try:
        yield
    finally:
        sys.unraisablehook = before
        for timer in pending:
            timer.cancel()
