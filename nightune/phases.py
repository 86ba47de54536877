"""Divide the time of one thread among phases, so that the times of all phases sum to the whole.

A clock belongs to the thread that starts it; in other threads, and without a clock, a phase costs nothing. Trainings
that are coroutines of one thread interleave their phases: what ends need not be what began last.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

IDLE = "idle"  # in no phase: planning, drawing points, Python between trainings
TRAINING = "training"
COMPILING = "compiling"
VALIDATION = "validation"
TRACKING = "tracking"
WAITING = "waiting"
ABSENT = "absent"  # of a worker of a cluster: before it joined, and after it left

PREPARATION = "preparation"
SEARCH = "search"
CONFIRMATION = "confirmation"
GATE = "gate"
AUDIT = "audit"
ABLATION = "ablation"

_local = threading.local()


@dataclass
class Clock:
    """The seconds of each phase in each stage so far. `began_at` is an earlier time of `now`; default: now."""

    now: Callable[[], float] = time.perf_counter
    began_at: float | None = None
    seconds: dict[str, dict[str, float]] = field(default_factory=dict)  # stage → phase → seconds
    at_change: Callable[[], None] | None = None  # called where a phase begins or ends

    def __post_init__(self) -> None:
        self._marked_at = self.now() if self.began_at is None else self.began_at
        self._stages, self._phases = [PREPARATION], [IDLE]

    def read(self) -> dict[str, dict[str, float]]:
        """Return the seconds until now."""
        self._charge()
        return {stage: dict(phases) for stage, phases in self.seconds.items()}

    @property
    def stage(self) -> str:
        """The current stage."""
        return self._stages[-1]

    def total(self, phase: str) -> float:
        """Return the seconds of a phase until now, in all stages."""
        return sum(phases.get(phase, 0.0) for phases in self.read().values())

    def begin(self, name: str, is_stage: bool) -> None:
        """Begin a phase, or a stage."""
        self._charge()
        (self._stages if is_stage else self._phases).append(name)

    def end(self, name: str, is_stage: bool) -> None:
        """End the innermost phase, or stage, of this name."""
        self._charge()
        held = self._stages if is_stage else self._phases
        del held[len(held) - 1 - held[::-1].index(name)]

    def _charge(self) -> None:
        now = self.now()
        held = self.seconds.setdefault(self._stages[-1], {})
        held[self._phases[-1]] = held.get(self._phases[-1], 0.0) + now - self._marked_at
        self._marked_at = now
        if self.at_change is not None:
            self.at_change()


@contextmanager
def clock_running(clock: Clock) -> Iterator[Clock]:
    """Let a clock count the phases of this thread while the block runs; inside another one's block, that one counts."""
    if current_clock() is not None:
        yield clock
        return
    _local.clock = clock
    try:
        yield clock
    finally:
        _local.clock = None


def current_clock() -> Clock | None:
    """Return the clock of this thread, if one runs."""
    clock: Clock | None = getattr(_local, "clock", None)
    return clock


def current_stage() -> str:
    """Return the stage of this thread; without a clock it is the search."""
    clock = current_clock()
    return SEARCH if clock is None else clock.stage


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Count the block as this phase, except for phases inside it."""
    yield from _counted(name, is_stage=False)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Count the phases of the block in this stage."""
    yield from _counted(name, is_stage=True)


def _counted(name: str, is_stage: bool) -> Iterator[None]:
    clock = current_clock()
    if clock is None:
        yield
        return
    clock.begin(name, is_stage)
    try:
        yield
    finally:
        clock.end(name, is_stage)
