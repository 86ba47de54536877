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


class Ahead:
    """The functions of a program that are compiled in threads, and not yet called."""

    def __init__(self, first_calls: FirstCalls) -> None:
        self._first_calls = first_calls
        self._running: dict[Hashable, _Compilation] = {}

    def start(self, function: Hashable, trace: Callable[[], Callable[[], Any]]) -> None:
        """Trace a function now, and compile it in a thread, unless it was called or begun before.

        `trace` returns what compiles it. Tracing stays in the caller's thread: it replaces Keras' random functions in
        the whole process. Errors are left to the function's first call, which then traces and compiles as usual.
        """
        if self._first_calls.has(function) or function in self._running:
            return
        started_at = time.perf_counter()
        compilation = _Compilation(trace())
        compilation.seconds = time.perf_counter() - started_at
        atexit.unregister(_wait_for_threads)
        atexit.register(_wait_for_threads)  # after what the backends register: it runs before it
        compilation.thread.start()
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
    """A thread that compiles. The process waits for it in `_wait_for_threads`, not in Python's own silent wait."""

    compile: Callable[[], Any]
    seconds: float = 0.0
    result: Any = None
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)

    def _run(self) -> None:
        started_at = time.perf_counter()
        with suppress(Exception):
            self.result = self.compile()
        self.seconds += time.perf_counter() - started_at


def _wait_for_threads() -> None:
    """Wait for compilations at the end of the process, which native code would not survive; Ctrl-C ends it at once."""
    threads = [thread for thread in threading.enumerate() if thread.name == THREAD_NAME]
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
