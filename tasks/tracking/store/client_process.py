"""Make the calls of background writes in another process, where the interpreter of this one is short of time.

The record of a trial is some 25 ms of Python. Where a trial takes tenths of a second, a thread that makes it and the
training wait for each other: on two processors both are then slower than one after the other. The other process has
MLflow's client and nothing else; order, retries, attempts and errors stay with the caller.
"""

import logging
import pickle
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, TypeVar

from nightune.models.heavy_imports import lasting_imports, without_modules
from nightune.models.program_cache import processor_count
from nightune.tasks.child_pipe import ChildPipe, served_pipe
from nightune.tasks.tracking.store.commits import prepare_commits, without_waiting

RECORDING = (  # calls of a record
    *("create_run", "log_inputs", "log_batch", "set_terminated", "update_run", "set_tag"),
    *("get_run", "get_metric_history"),  # of a trial that is trained further
)
START_SECONDS = 1.5  # of a processor, until it answers: most of it imports MLflow
NOT_NEEDED = "pandas"  # which MLflow imports where it is installed
SAMPLE = 6  # writes that are measured before it may start
LEAST_SHARE = 0.1  # of the time from one write to the next; below, a thread disturbs no training
COMMAND = "from nightune.tasks.tracking.store.client_process import serve; serve()"

R = TypeVar("R")


class LostProcessError(ConnectionError):
    """The other process ended before it answered: whether the call was made is unknown."""


class ClientProcess(ChildPipe):
    """A child process that makes calls of MLflow's client, one at a time. It ends with the process that started it."""

    def __init__(self, tracking_uri: str) -> None:
        super().__init__(COMMAND)
        self._uses, self._is_ready = threading.Lock(), threading.Event()
        self.send(tracking_uri)  # not by the command, which other users can read: it may have a password
        threading.Thread(target=self._wait_for_start, name="nightune-client-start", daemon=True).start()

    @property
    def is_ready(self) -> bool:
        """True while it answers calls; False while it starts, and after it was lost."""
        return self._is_ready.is_set()

    def call(self, name: str, /, *values: Any, **options: Any) -> Any:
        """Return what the client's method `name` returns, or raise its error. LostProcessError if the process ends."""
        with self._uses:
            try:
                self.send((name, values, options))
                is_made, answer = self.receive()
            except Exception as error:  # of what is not a whole answer, pickle raises errors of any type
                self._is_ready.clear()
                raise LostProcessError("the process that writes to the store has ended") from error
        if not is_made:
            raise answer
        return answer

    def close(self) -> None:
        """End the process, after the call in progress."""
        with self._uses:
            self._is_ready.clear()
            super().close()

    def _wait_for_start(self) -> None:
        with suppress(Exception):  # it has ended, or printed something before its answer: it is never used
            self.receive()
            self._is_ready.set()


class OnDemand:
    """Starts a client process where the writes that are left pay for it; `trials` are to be written in all."""

    def __init__(self, tracking_uri: str, trials: int) -> None:
        self.tracking_uri = tracking_uri
        self._left = trials
        self._seconds: list[float] = []  # of a processor, of each write so far
        self._began_at = time.monotonic()
        self._process: ClientProcess | None = None
        self._may_start = True

    @property
    def process(self) -> ClientProcess | None:
        """The process, if it answers calls."""
        return self._process if self._process is not None and self._process.is_ready else None

    def count(self, seconds: float) -> None:
        """Count a write that took these seconds of a processor."""
        self._left -= 1
        self._seconds.append(seconds)
        if self._may_start and len(self._seconds) >= SAMPLE and self._pays():
            self._may_start = False
            with suppress(OSError, RuntimeError):  # no room for a process or a thread: this thread continues
                self._process = ClientProcess(self.tracking_uri)

    def close(self) -> None:
        """End the process. A write that is still running, as after an interrupt, does not start one."""
        self._may_start = False
        if self._process is not None:
            self._process.close()

    def _pays(self) -> bool:
        write, interval = statistics.median(self._seconds), (time.monotonic() - self._began_at) / len(self._seconds)
        return write * self._left > 2 * START_SECONDS and write > LEAST_SHARE * interval


_of_block: ContextVar[OnDemand | None] = ContextVar("client_process_of_block", default=None)
_of_write: ContextVar[OnDemand | None] = ContextVar("client_process_of_write", default=None)


@contextmanager
def client_process(tracking_uri: str, trials: int) -> Iterator[None]:
    """Let the background writes of the block make their calls in another process, if `trials` writes pay for it."""
    if processor_count() < 2:
        yield
        return
    on_demand = OnDemand(tracking_uri, trials)
    token = _of_block.set(on_demand)
    try:
        yield
    finally:
        _of_block.reset(token)
        on_demand.close()


@without_waiting()
def in_background(write: Callable[[], R]) -> R:
    """Make a background write in this thread, its calls by the process of the block where there is one.

    It is the record of a trial: its commits do not wait for the disk.
    """
    on_demand = _of_block.get()
    if on_demand is None:
        return write()
    token, began = _of_write.set(on_demand), time.thread_time()
    try:
        return write()
    finally:
        _of_write.reset(token)
        on_demand.count(time.thread_time() - began)


def process_for(tracking_uri: str, name: str) -> ClientProcess | None:
    """Return the process that makes a call of this client method for the write in progress; None: this one does."""
    on_demand = _of_write.get()
    if on_demand is None or name not in RECORDING or on_demand.tracking_uri != tracking_uri:
        return None
    return on_demand.process


def plain_client(tracking_uri: str) -> Any:
    """Return a client of MLflow, whose calls are not retried."""
    import mlflow  # noqa: PLC0415 - takes seconds to import, and --help does not need it

    for name in ("mlflow.tracking", "mlflow.pyfunc", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # its failures are raised, and logged by us
    prepare_commits(tracking_uri)
    return mlflow.MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


def serve() -> None:
    """Make the calls that the parent asks for, those of records of trials, until it closes the pipe or ends."""
    requests, answers = served_pipe()
    address = pickle.load(requests)
    with lasting_imports(), without_modules(NOT_NEEDED):
        made = plain_client(address)
        made.search_experiments(max_results=1)
    with suppress(EOFError, BrokenPipeError), without_waiting():
        pickle.dump(None, answers)
        while True:
            answers.flush()
            name, values, options = pickle.load(requests)
            try:
                answer = True, getattr(made, name)(*values, **options)
            except Exception as error:
                answer = False, error  # where it cannot be pickled, this process ends: the parent makes the call again
            pickle.dump(answer, answers)
