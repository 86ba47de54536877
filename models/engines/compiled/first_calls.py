"""Count a program's compiled functions, and measure their first calls, which trace and compile."""

import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from nightune.phases import COMPILING, phase


class FirstCalls:
    """The first call of each function of a program; functions differ in the shapes of their arguments."""

    def __init__(self) -> None:
        self._seen: set[Hashable] = set()
        self.seconds = 0.0  # of the first calls, their computation included: at most a second each

    @property
    def functions(self) -> int:
        """The number of functions called so far."""
        return len(self._seen)

    def has(self, function: Hashable) -> bool:
        """Return whether the function was called before."""
        return function in self._seen

    @contextmanager
    def measured(self, function: Hashable) -> Iterator[None]:
        """Measure the block if it is the function's first call that succeeds."""
        if function in self._seen:
            yield
            return
        started_at = time.perf_counter()
        with phase(COMPILING):
            yield
        self._seen.add(function)
        self.seconds += time.perf_counter() - started_at
