"""Writes that one background thread carries out in their order, while the caller goes on."""

import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from contextvars import copy_context
from types import TracebackType
from typing import Generic, Self, TypeVar

from nightune.tasks.tracking.store.retry import hurried

WAITING = 3  # what a kill may lose, and has to be trained again

R = TypeVar("R")
logger = logging.getLogger("nightune")


class BackgroundWriter(Generic[R]):
    """Takes in writes and returns what they gave, in order.

    The error of a write is raised by a later call; what was taken in till then, by that call too, is written all the
    same. Leaving the block waits for it, also after an interrupt.
    """

    def __init__(self, waiting: int = WAITING) -> None:
        self._waiting = waiting
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="nightune-writer")
        self._pending: deque[Future[R]] = deque()
        self._results: list[R] = []

    def __enter__(self) -> Self:
        return self

    def submit(self, write: Callable[[], R]) -> None:
        """Take in a write; waits while too many are left to do. Raises what an earlier one has raised."""
        self._pending.append(self._pool.submit(copy_context().run, write))
        while len(self._pending) > self._waiting or (self._pending and self._pending[0].done()):
            self._take()

    def wait(self) -> None:
        """Wait until all that was taken in is written."""
        while self._pending:
            self._take()

    def results(self) -> list[R]:
        """Wait for all writes and return what they gave."""
        self.wait()
        return self._results

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with nullcontext() if error is None or isinstance(error, Exception) else hurried():
            self._pool.shutdown(wait=True)
        for future in self._pending:
            lost = None if future.cancelled() else future.exception()
            if lost is not None:
                if error is None:
                    raise lost
                logger.warning("a finished trial could not be written: %s: %s", type(lost).__name__, lost)

    def _take(self) -> None:
        self._results.append(self._pending.popleft().result())
