"""A study's limits on one trial: its time, and the memory of the process while it trains.

Between epochs a trial over a limit is ended by an exception. One that hangs in an epoch cannot be: then the watching
thread notes the reason and ends the process, which its supervisor starts again.
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

LOOK_SECONDS = 0.5
GRACE_SECONDS = 10.0  # how long an epoch may go on over the limit, where the process can be started again


class TrialLimitError(Exception):
    """The trial is over a limit; the text says which."""


@dataclass
class Watch:
    """Looks at the clock and at the memory of this process while one trial trains."""

    limits: Limits
    end_process: Callable[[str], None] | None = None  # None where nothing would start the process again

    def __post_init__(self) -> None:
        self._started_at = time.monotonic()
        self._ended = threading.Event()
        self._reason = ""

    def check(self) -> None:
        """Raise TrialLimitError if the trial is over a limit; called after each epoch."""
        self._look()
        if self._reason:
            raise TrialLimitError(self._reason)

    def count(self, seconds: float) -> None:
        """Count what the trial has trained in processes before this one."""
        self._started_at -= seconds

    def run(self) -> None:
        """Look now and then until the trial has ended, and end the process if the trial does not end in time."""
        over_since = 0.0
        while not self._ended.wait(LOOK_SECONDS):
            self._look()
            if self._reason:
                over_since = over_since or time.monotonic()
                if self.end_process and time.monotonic() - over_since > GRACE_SECONDS:
                    self.end_process(self._reason)

    def stop(self) -> None:
        """The trial has ended."""
        self._ended.set()

    def _look(self) -> None:
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
def watched(limits: Limits, condemn: Callable[[str], None] | None) -> Iterator[Watch]:
    """Watch one trial while the block runs.

    `condemn` notes why the process of a trial that hangs is ended; with None it is never ended.
    """

    def end_process(reason: str) -> None:
        assert condemn is not None
        condemn(reason)
        os.kill(os.getpid(), signal.SIGKILL)

    watch = Watch(limits, end_process if condemn else None)
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
