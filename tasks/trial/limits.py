"""Enforce a study's limits on one trial: its time, and the memory of the process while it trains.

Between epochs, a trial over a limit is ended by an exception. A trial that hangs within an epoch is ended with its
process by a watching thread, which first records the reason; the supervisor restarts the process.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

from nightune.tuning.study.sections import Limits

POLL_SECONDS = 0.5
GRACE_SECONDS = 10.0  # for an epoch over the limit to end, before the process is killed


class TrialLimitError(Exception):
    """The trial is over the limit that the text names."""


@dataclass
class Watch:
    """Measures the time of one trial, and the memory of this process, against the limits."""

    limits: Limits
    end_process: Callable[[str], None] | None = None  # None if no supervisor would restart the process

    def __post_init__(self) -> None:
        self._started_at = time.monotonic()
        self._ended = threading.Event()
        self._reason = ""

    def check(self) -> None:
        """Raise TrialLimitError if the trial is over a limit; called after each epoch."""
        self._measure()
        if self._reason:
            raise TrialLimitError(self._reason)

    def add_seconds(self, seconds: float) -> None:
        """Add the seconds that the trial has trained in earlier processes."""
        self._started_at -= seconds

    def run(self) -> None:
        """Poll until the trial has ended; end the process if a trial over a limit does not end in time."""
        over_since = 0.0
        while not self._ended.wait(POLL_SECONDS):
            self._measure()
            if self._reason:
                over_since = over_since or time.monotonic()
                if self.end_process and time.monotonic() - over_since > GRACE_SECONDS:
                    self.end_process(self._reason)

    def stop(self) -> None:
        """Stop polling: the trial has ended."""
        self._ended.set()

    def _measure(self) -> None:
        seconds = time.monotonic() - self._started_at
        if self._reason:
            return
        if self.limits.seconds is not None and seconds > self.limits.seconds:
            self._reason = f"over its time limit: limits.seconds is {self.limits.seconds:g}"
        elif self.limits.memory_gib is not None:
            used = psutil.Process().memory_info().rss / 2**30
            if used > self.limits.memory_gib:
                self._reason = (
                    f"over its memory limit: the process uses {used:.1f} GiB, limits.memory_gib is "
                    f"{self.limits.memory_gib:g}"
                )


@contextmanager
def watched(limits: Limits, record_limit: Callable[[str], None] | None) -> Iterator[Watch]:
    """Watch one trial while the block runs.

    `record_limit` records the limit before the process of a hanging trial is killed; with None it is never killed.
    """

    def end_process(reason: str) -> None:
        assert record_limit is not None
        record_limit(reason)
        os.kill(os.getpid(), signal.SIGKILL)

    watch = Watch(limits, end_process if record_limit else None)
    if limits.seconds is None and limits.memory_gib is None:
        yield watch
        return
    thread = threading.Thread(target=watch.run, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        watch.stop()
        thread.join()
