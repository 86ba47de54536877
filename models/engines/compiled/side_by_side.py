"""Trainings side by side: each is written as if it were alone, and their epochs are computed as stacks.

Each training is a coroutine (a greenlet: what trains is called through frames that know nothing of it) that is
suspended where it asks its engine for an epoch. When all of them ask, one call computes all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from greenlet import GreenletExit, getcurrent, greenlet

T = TypeVar("T")

RunEpochs = Callable[[Sequence[tuple[Any, Any]]], Sequence[Any]]  # states and plans; new states and outputs, or errors


@dataclass(frozen=True)
class Asked:
    """An epoch that a training waits for."""

    state: Any
    plan: Any


class WaitingEngine:
    """An engine whose epochs another greenlet computes; all else is the engine's own."""

    def __init__(self, engine: Any) -> None:
        self._engine, self._hub = engine, getcurrent()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def epochs_at_once(self, _state: Any, _plan: Any) -> int:
        """One: the others wait for it."""
        return 1

    def run_epochs(self, state: Any, plans: Sequence[Any]) -> Any:
        """Run the first."""
        state, output = self.run_epoch(state, plans[0])
        return state, [output]

    def run_epoch(self, state: Any, plan: Any) -> Any:
        """Wait until the epochs of all trainings are computed."""
        return self._hub.switch(Asked(state, plan))


def train_side_by_side(
    engine: Any, trainings: Sequence[Callable[[Any], T]], members: int, run_epochs: RunEpochs
) -> list[T]:
    """Call each training with an engine, at most `members` at a time, and return what they return.

    What one of them raises ends all: those that wait are left by GreenletExit, as by an interrupt.
    """
    waiting_engine, results = WaitingEngine(engine), {}
    waiting: dict[int, tuple[Any, Asked]] = {}
    coming = list(enumerate(trainings))[::-1]

    def go_on(place: int, coroutine: Any, told: Any) -> None:
        asked = coroutine.throw(told) if isinstance(told, Exception) else coroutine.switch(told)
        if coroutine.dead:
            results[place] = asked
        else:
            waiting[place] = (coroutine, asked)

    try:
        while coming or waiting:
            while coming and len(waiting) < members:
                place, training = coming.pop()
                go_on(place, greenlet(training), waiting_engine)
            asking = dict(waiting)
            computed = run_epochs([(asked.state, asked.plan) for _, asked in asking.values()])
            for (place, (coroutine, _)), told in zip(asking.items(), computed, strict=True):
                del waiting[place]
                go_on(place, coroutine, told)
    finally:
        for coroutine, _ in waiting.values():
            coroutine.throw(GreenletExit)
    return [results[place] for place in range(len(trainings))]
