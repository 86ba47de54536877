"""Compile functions beside the training: XLA does not hold the interpreter's lock."""

import atexit
import sys
import threading
import time
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from os import _exit as end_process
from typing import Any

from nightune.models.engines.compiled.first_calls import FirstCalls

THREAD_NAME = "compiles ahead"
INTERRUPTED = 130  # exit code

_latest: list[threading.Thread] = []  # at most one: the next compilation waits for it
_is_ending = threading.Event()  # what has not begun is not compiled any more


class Ahead:
    """The functions of a program that are compiled in threads, and not yet called."""

    def __init__(self, first_calls: FirstCalls) -> None:
        self._first_calls = first_calls
        self._running: dict[Hashable, _Compilation] = {}

    def is_new(self, function: Hashable) -> bool:
        """Return whether a function was neither called nor begun."""
        return not self._first_calls.has(function) and function not in self._running

    def start(self, function: Hashable, trace: Callable[[], Callable[[], Any]]) -> None:
        """Trace a function now, and compile it in a thread after those begun before it, unless it was called or begun.

        `trace` returns what compiles it. Tracing stays in the caller's thread: it replaces Keras' random functions in
        the whole process. Errors are left to the function's first call, which then traces and compiles as usual.
        """
        if not self.is_new(function):
            return
        started_at = time.perf_counter()
        compilation = _Compilation(trace(), [*_latest])
        compilation.seconds = time.perf_counter() - started_at
        atexit.unregister(_wait_for_threads)
        atexit.register(_wait_for_threads)  # after what the backends register: it runs before it
        compilation.thread.start()
        _latest[:] = [compilation.thread]
        self._running[function] = compilation

    def take(self, function: Hashable) -> Any | None:
        """Wait until a function is compiled; return what compiled it returned, None if it was not begun or failed."""
        compilation = self._running.pop(function, None)
        if compilation is None:
            return None
        started_at = time.perf_counter()
        compilation.thread.join()
        waited = time.perf_counter() - started_at
        self._first_calls.seconds += max(0.0, compilation.seconds - waited)  # the first call measures the wait
        return compilation.result


@dataclass
class _Compilation:
    """A thread that compiles after the one before it. The process waits in `_wait_for_threads`, not silently."""

    compile: Callable[[], Any]
    before: list[threading.Thread]  # at most one
    seconds: float = 0.0
    result: Any = None
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)

    def _run(self) -> None:
        while self.before:
            self.before.pop().join()
        if _is_ending.is_set():
            return
        started_at = time.perf_counter()
        with suppress(Exception):
            self.result = self.compile()
        self.seconds += time.perf_counter() - started_at


def _wait_for_threads() -> None:
    """Wait for compilations at the end of the process, which native code would not survive; Ctrl-C ends it at once."""
    threads = [thread for thread in threading.enumerate() if thread.name == THREAD_NAME]
    _is_ending.set()
    try:
        if threads:
            with suppress(AttributeError, OSError, ValueError):  # a closed stream
                sys.stderr.write("waiting for a compilation (Ctrl-C ends the process at once)\n")  # logs have ended
                sys.stderr.flush()
        for thread in threads:
            thread.join()
    except KeyboardInterrupt:
        for stream in (sys.stdout, sys.stderr):
            with suppress(AttributeError, OSError, ValueError):
                stream.flush()
        end_process(INTERRUPTED)
    finally:
        _is_ending.clear()
