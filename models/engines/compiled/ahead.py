"""Compile functions beside the training: XLA does not hold the interpreter's lock."""

import threading
import time
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from nightune.models.engines.compiled.first_calls import FirstCalls


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
    """A thread that compiles; the process waits for it at its end, which native code would not survive."""

    compile: Callable[[], Any]
    seconds: float = 0.0
    result: Any = None
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._run, name="compiles ahead")

    def _run(self) -> None:
        started_at = time.perf_counter()
        with suppress(Exception):
            self.result = self.compile()
        self.seconds += time.perf_counter() - started_at
