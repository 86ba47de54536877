"""How long something has shown no sign of life, counted while this process has looked."""

import time
from collections.abc import Callable
from dataclasses import dataclass

LONGEST_STEP_SECONDS = 10.0  # of the time between two looks: a process that was suspended itself has not looked


@dataclass
class _Heard:
    sign: object
    looked_at: float
    silent_seconds: float = 0.0


class Silence:
    """The silence of several others, each by its name: a sign that has not changed is none."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heard: dict[str, _Heard] = {}

    def seconds(self, name: str, sign: object) -> float:
        """Return how long `name` has been silent, with the sign that it shows now: 0 where that is a new one."""
        now, heard = self._clock(), self._heard.get(name)
        if heard is None or heard.sign != sign:
            self._heard[name] = _Heard(sign, now)
            return 0.0
        heard.silent_seconds += min(now - heard.looked_at, LONGEST_STEP_SECONDS)
        heard.looked_at = now
        return heard.silent_seconds
