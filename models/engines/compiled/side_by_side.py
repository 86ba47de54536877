"""Run trainings concurrently, and batch their epochs into stacks; each training is written as if it ran alone.

Each training is a coroutine: a greenlet, because the functions between here and the engine are not asynchronous. It is
suspended when it requests an epoch from its engine. When all of them wait, one call computes all requested epochs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from greenlet import GreenletExit, getcurrent, greenlet

T = TypeVar("T")

RunEpochs = Callable[[Sequence[tuple[Any, Any]]], Sequence[Any]]  # states and plans → new states and outputs, or errors


def train_side_by_side(
    engine: Any, trainings: Sequence[Callable[[Any], T]], members: int, run_epochs: RunEpochs
) -> list[T]:
    """Call each training with an engine, at most `members` at a time, and return their results in order.

    An error that one of them raises ends all: waiting trainings are ended by GreenletExit, as by an interrupt.
    """
    waiting_engine, results = WaitingEngine(engine), {}
    waiting: dict[int, tuple[Any, EpochRequest]] = {}
    pending = list(enumerate(trainings))[::-1]

    def resume(index: int, coroutine: Any, response: Any) -> None:
        is_error = isinstance(response, Exception)
        request_or_result = coroutine.throw(response) if is_error else coroutine.switch(response)
        if coroutine.dead:
            results[index] = request_or_result
        else:
            waiting[index] = (coroutine, request_or_result)

    try:
        while pending or waiting:
            while pending and len(waiting) < members:
                index, training = pending.pop()
                resume(index, greenlet(training), waiting_engine)
            batched = dict(waiting)
            responses = run_epochs([(request.state, request.plan) for _, request in batched.values()])
            for (index, (coroutine, _)), response in zip(batched.items(), responses, strict=True):
                del waiting[index]
                resume(index, coroutine, response)
    finally:
        for coroutine, _ in waiting.values():
            coroutine.throw(GreenletExit)
    return [results[index] for index in range(len(trainings))]


@dataclass(frozen=True)
class EpochRequest:
    """The request of a suspended training: a state, and the plan to execute on it."""

    state: Any
    plan: Any


class WaitingEngine:
    """An engine that suspends the training until its epoch is computed; everything else is the engine's own."""

    def __init__(self, engine: Any, hub: Any = None) -> None:
        self._engine, self._hub = engine, hub or getcurrent()

    def beside(self, engine: Any) -> "WaitingEngine":
        """Return another engine that suspends the same training."""
        return WaitingEngine(engine, self._hub)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def epochs_at_once(self, _state: Any, _plan: Any) -> int:
        """Return 1: the other trainings wait for each epoch."""
        return 1

    def run_epochs(self, state: Any, plans: Sequence[Any]) -> Any:
        """Execute the first plan."""
        state, output = self.run_epoch(state, plans[0])
        return state, [output]

    def run_epoch(self, state: Any, plan: Any) -> Any:
        """Request an epoch, and wait for its result."""
        return self._hub.switch(EpochRequest(state, plan))
