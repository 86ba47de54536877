"""Remember that this process was interrupted: what is called in between may drop a KeyboardInterrupt in silence.

C code that asks a Python object for an attribute clears every exception, and a library may catch all of them.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_is_interrupted = threading.Event()
_remembers = threading.Event()  # in a block of a command


@contextmanager
def interrupts_remembered() -> Iterator[None]:
    """Raise KeyboardInterrupt at SIGTERM, as at Ctrl-C, and remember both until the block ends.

    Schedulers send SIGTERM, and jobs started with & do not get SIGINT: where it is ignored, it stays so. While a flow
    runs, Prefect handles SIGTERM: a flow that trains adds `terminations_remembered`.
    """
    is_ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    numbers = (signal.SIGTERM,) if is_ignored else (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, _interrupt) for number in numbers}
    _remembers.set()
    try:
        yield
    finally:
        _remembers.clear()
        for number, handler in before.items():
            signal.signal(number, handler)
        _is_interrupted.clear()


@contextmanager
def terminations_remembered() -> Iterator[None]:
    """Remember SIGTERM in the body of a flow that a command runs, and call Prefect's handler, which raises.

    Elsewhere nothing changes: a served night keeps Prefect's handler, without which Prefect would record a cancelled
    night as crashed. If its exception is dropped there, the server of the nights kills the night later.
    """
    handle = signal.getsignal(signal.SIGTERM)
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or not _remembers.is_set() or not callable(handle):
        yield
        return

    def remember(number: int, frame: FrameType | None) -> None:
        _is_interrupted.set()
        handle(number, frame)

    signal.signal(signal.SIGTERM, remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handle)


def remember_interrupt() -> None:
    """Let this process, which a flow has stopped, end what it trains as at Ctrl-C."""
    _is_interrupted.set()


def is_interrupted() -> bool:
    """Return whether this process was interrupted."""
    return _is_interrupted.is_set()


def refuse_interrupted() -> None:
    """Raise KeyboardInterrupt if the process was interrupted and works all the same: asked by all loops of trials."""
    if _is_interrupted.is_set():
        raise KeyboardInterrupt


@contextmanager
def interrupts_raised() -> Iterator[None]:
    """Raise KeyboardInterrupt instead of an error of the block, and at its end, if the process was interrupted.

    Code in C that drops an interrupt fails with another error, or returns something else: neither is a result.
    """
    try:
        yield
    except Exception:
        refuse_interrupted()
        raise
    refuse_interrupted()


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    _is_interrupted.set()
    raise KeyboardInterrupt
