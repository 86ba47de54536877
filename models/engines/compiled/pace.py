"""How many updates one call of a compiled program makes: about a second's, as an interrupt waits for the call's end."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

FIRST_CALL_UPDATES = 256
CALL_SECONDS = 1.0


@dataclass(frozen=True)
class Call:
    """The updates of a part that one call makes; the epoch's last call validates, too."""

    start: int
    end: int
    is_last: bool
    loss: Any  # float32, the sum of the losses of the part's examples before


class Pace:
    """A program's updates a call, by how long its calls took so far."""

    def __init__(self) -> None:
        self.updates_a_call = FIRST_CALL_UPDATES

    def measure(self, updates: int, started_at: float) -> None:
        """Set the next calls by the updates that were made since a moment of `time.perf_counter`."""
        seconds = max(time.perf_counter() - started_at, 1e-6)
        self.updates_a_call = max(1, int(updates / seconds * CALL_SECONDS))

    def calls(self, count: int, is_last_part: bool, losses: list[Any]) -> Iterator[Call]:
        """Cut a part into calls; the caller appends the loss that each returns to `losses`.

        Each adds to the losses of the one before: how fast the device happens to be changes no bit of the sum.
        """
        start, loss = 0, np.float32(0.0)
        while start < count:
            started_at = time.perf_counter()
            end = min(count, start + self.updates_a_call)
            yield Call(start, end, is_last_part and end == count, loss)
            if end < count:  # else the device may go on with the validation at once
                loss = np.asarray(losses.pop())
                self.measure(end - start, started_at)
            start = end
