"""Limit calls of a compiled program to about a second, because an interrupt waits for the end of the call."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

FIRST_CALL_UPDATES = 256
CALL_SECONDS = 1.0


@dataclass(frozen=True)
class Call:
    """The updates of a part in one call; the epoch's last call also validates."""

    start: int
    end: int
    is_last: bool
    loss: Any  # float32, the sum of losses in the earlier calls of the part


class Pace:
    """The number of updates per call of a program, adjusted to the measured duration of its calls."""

    def __init__(self) -> None:
        self.updates_per_call = FIRST_CALL_UPDATES

    def measure(self, updates: int, started_at: float) -> None:
        """Adjust the size of later calls to the updates made since `started_at`, a time of `time.perf_counter`."""
        seconds = max(time.perf_counter() - started_at, 1e-6)
        self.updates_per_call = max(1, int(updates / seconds * CALL_SECONDS))

    def calls(self, count: int, is_last_part: bool, losses: list[Any]) -> Iterator[Call]:
        """Divide a part into calls; the caller appends the loss that each call returns to `losses`.

        Each call continues the sum of the previous one, so the sum does not depend on the speed of the device.
        """
        start = 0
        loss: Any = np.float32(0.0)
        while start < count:
            started_at = time.perf_counter()
            end = min(count, start + self.updates_per_call)
            yield Call(start, end, is_last_part and end == count, loss)
            if end < count:  # after the last call, do not wait: the device can continue with the validation
                loss = np.asarray(losses.pop())
                self.measure(end - start, started_at)
            start = end
