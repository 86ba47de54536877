"""What a feed needs of those that train: places for workers, and a crew that fills them."""

import queue
from collections.abc import Sequence
from dataclasses import dataclass, field
from logging import LogRecord
from typing import Any, Protocol

from nightune.tasks.setting import Setting
from nightune.tasks.tracking.store.errors import StoreError
from nightune.tasks.trial.crash_log import Crash
from nightune.tasks.workers.job import Job

FUTILE_STARTS = 3  # ends of a worker, one after the other, without a trial in training or a finished cohort


class WorkersLostError(StoreError):
    """No worker is left; finished trials are kept, and the same command resumes."""


class Ending(Protocol):
    """The end of a job, as far as the feed needs it: a `distributed.Future`, or another one like it."""

    @property
    def key(self) -> Any:
        """What tells futures apart."""
        ...

    def result(self, timeout: float) -> Any:
        """Return what the job has returned, or raise what ended it."""
        ...

    def release(self) -> object:
        """Let the result go: a worker that held it would compute it again at another one's death."""
        ...


@dataclass
class Place:
    """A place for a worker, and what it holds: the graph keys that it has trained."""

    name: str
    address: str = ""  # empty until it can train
    futile_starts: int = 0
    held: set[str] = field(default_factory=set)


class Crew(Protocol):
    """The workers of a flow, which start with its first cohort."""

    inbox: "queue.SimpleQueue[LogRecord | Ending]"

    @property
    def workers(self) -> Sequence[Any]:
        """The places that are filled, or will be."""
        ...

    def start(self, setting: Setting) -> None:
        """Start or find the workers, once."""
        ...

    def join(self) -> None:
        """Note the workers that have joined since. WorkersLostError where none can come any more."""
        ...

    def send(self, worker: Any, job: Job) -> Ending:
        """Send a job to a worker that has joined; its end comes into the inbox."""
        ...

    def cut_off(self, worker: Any) -> None:
        """Give up a worker that does not answer: it is dead from now on."""
        ...

    def dead(self) -> Sequence[Any]:
        """Return the workers that have died since."""
        ...

    def crash(self, worker: Any, setting: Setting, job: Job | None) -> tuple[str, Crash | None]:
        """Return why a worker died, and the crash that it counts for the trial that it was training, if it did."""
        ...

    def replace(self, worker: Any, is_futile: bool) -> None:
        """Fill a dead worker's place again; after several futile starts it stays empty."""
        ...

    def close(self) -> None:
        """End the training of all workers; what they have trained is written."""
        ...
