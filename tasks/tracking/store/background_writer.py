"""Write in the background: one thread runs the writes in order while the caller continues."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import nullcontext
from contextvars import copy_context
from types import TracebackType
from typing import Generic, Self, TypeVar

from nightune.phases import WAITING, phase
from nightune.tasks.tracking.store.client_process import in_background
from nightune.tasks.tracking.store.retry import short_retries

MAXIMUM_PENDING = 3  # results that a kill may lose, so that their trials train again

R = TypeVar("R")
logger = logging.getLogger("nightune")


class BackgroundWriter(Generic[R]):
    """Runs writes in the background and returns their results in order.

    A later call raises the error of a write; the writes submitted until then, by that call too, still run. Leaving the
    block waits for them, even after an interrupt.
    """

    def __init__(self, maximum_pending: int = MAXIMUM_PENDING) -> None:
        self._maximum_pending = maximum_pending
        self._pool = ThreadPoolExecutor(1, "nightune-writer", initializer=self._note_thread)
        self._thread: int | None = None  # where it writes, once it has begun
        self._pending: deque[Future[R]] = deque()
        self._results: list[R] = []

    def __enter__(self) -> Self:
        return self

    def submit(self, write: Callable[[], R]) -> None:
        """Queue a write; wait while too many are pending. Raises the error of an earlier write."""
        self._pending.append(self._pool.submit(copy_context().run, in_background, write))
        while len(self._pending) > self._maximum_pending or (self._pending and self._pending[0].done()):
            self._collect_oldest()

    def wait(self) -> None:
        """Wait until all queued writes have ended; in a write itself, those before it have."""
        while self._pending and threading.get_ident() != self._thread:
            self._collect_oldest()

    def results(self) -> list[R]:
        """Wait for all writes and return their results."""
        self.wait()
        return self._results

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        is_usual = error is None or isinstance(error, Exception)
        with nullcontext() if is_usual else short_retries(), phase(WAITING):
            self._pool.shutdown(wait=True)
        for future in self._pending:
            lost = None if future.cancelled() else future.exception()
            if lost is not None:
                if error is None:
                    raise lost
                logger.warning("a finished trial could not be written: %s: %s", type(lost).__name__, lost)

    def _note_thread(self) -> None:
        self._thread = threading.get_ident()

    def _collect_oldest(self) -> None:
        with phase(WAITING):
            wait([self._pending[0]])  # an interrupt leaves it among the pending ones
        self._results.append(self._pending.popleft().result())
