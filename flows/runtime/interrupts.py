"""Re-raise KeyboardInterrupts swallowed in finalizers or callbacks of the garbage collector.

Python raises KeyboardInterrupt wherever the main thread is. In a finalizer, or in a callback of the garbage collector
such as JAX', Python prints the exception and drops it, and the program would continue.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

DELAY_SECONDS = 0.2  # until the main thread has left the finalizer or callback


@contextmanager
def reraise_lost_interrupts() -> Iterator[None]:
    """Send SIGTERM to this process for each interrupt lost in the block: an exception that is not an Exception.

    SIGTERM must raise in the main thread, as it does in the commands and in a served night.
    """
    before, pending = sys.unraisablehook, list[threading.Timer]()

    def handle(lost: "sys.UnraisableHookArgs") -> None:
        if issubclass(lost.exc_type, Exception):
            before(lost)
            return
        timer = threading.Timer(DELAY_SECONDS, os.kill, (os.getpid(), signal.SIGTERM))
        timer.daemon = True
        pending.append(timer)
        timer.start()

    sys.unraisablehook = handle
    try:
        yield
    finally:
        sys.unraisablehook = before
        for timer in pending:
            timer.cancel()
