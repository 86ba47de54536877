"""Remember that this process was interrupted: what is called in between may drop a KeyboardInterrupt in silence.

C code that asks a Python object for an attribute clears every exception, and a library may catch all of them.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_is_interrupted = threading.Event()


@contextmanager
def interrupts_remembered() -> Iterator[None]:
    """Raise KeyboardInterrupt at SIGTERM, as at Ctrl-C, and remember both until the block ends.

    Schedulers send SIGTERM, and jobs started with & do not get SIGINT: where it is ignored, it stays so.
    """
    is_ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    numbers = (signal.SIGTERM,) if is_ignored else (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, _interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _is_interrupted.clear()


def refuse_interrupted() -> None:
    """Raise KeyboardInterrupt if the process was interrupted and trains all the same."""
    if _is_interrupted.is_set():
        raise KeyboardInterrupt


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    _is_interrupted.set()
    raise KeyboardInterrupt
