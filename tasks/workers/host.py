"""Host the training of a flow in a worker of a standing Dask cluster: the functions that Dask calls there.

A process of its own trains, so that Dask's worker outlives a trial that crashes it, holds no compiled programs and no
code of a user, and can end a training that has been let go. The process lives as long as the worker holds its lease: a
result in the worker's memory that Dask drops as soon as the flow's client has released it, or has gone.
"""

import os
import pickle
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from pathlib import Path
from typing import NoReturn

from nightune.settings import SUPERVISOR, read_settings
from nightune.tasks.child_environment import child_environment
from nightune.tasks.tracking.store.provenance import environment
from nightune.tasks.trial.crash_log import open_crash_log, signal_name
from nightune.tasks.workers.marks import Mark, machine, sees
from nightune.tasks.workers.silence import Silence

GRACE_SECONDS = 30.0  # for a training that was let go to end its epoch
POLL_SECONDS = 0.5
HELLO_SECONDS = 300.0  # to start Python and import what training needs, beside whatever else a machine does
BEAT_SECONDS = 5.0  # between two signs of life of a process that trains
HANG_SECONDS = 300.0  # without one: code that holds Python's lock for minutes must not look like a process that hangs
SAME = ("nightune", "keras", "numpy")  # packages that must have one version everywhere, beside Keras' backend


class UnusableWorkerError(Exception):
    """A worker cannot train what the flow would; the text names the difference."""


class StartLostError(UnusableWorkerError):
    """A training process has died, or has not answered, while it started: another one may not."""


@dataclass(frozen=True)
class Tracking:
    """The MLflow store of a flow and the run of its sweep.

    `is_file` if the database, or the artifacts, are files that no server of MLflow reads and writes.
    """

    uri: str
    sweep_run: str
    is_file: bool


@dataclass(frozen=True)
class Sending:
    """What a flow says to the workers of a cluster, once.

    `environment` has the variables that can change values: those of the flow, None for one that is not set there.
    `module` is the training process; it reads a pickled `HostedStart`.
    """

    flow: str
    module: str
    environment: Mapping[str, str | None]
    facts: Mapping[str, object]
    study: str
    tracking: Tracking
    mark: Mark


@dataclass(frozen=True)
class HostedStart:
    """What a training process begins with: a descriptor of its connection, the machine's folder, and the tracking."""

    descriptor: int
    root: Path
    tracking: Tracking


@dataclass(frozen=True)
class Died:
    """The end of a training process: why, and of which trial's training, if of any; `limit` is one that it exceeded.

    `is_fault` if its machine failed it, such as by a full disk: no trial has caused that.
    """

    cause: str
    key: str = ""
    limit: str = ""
    is_fault: bool = False


class Lease:
    """Ends a training process when nothing refers to it any more. It never leaves its worker."""

    def __init__(self, host: "Host") -> None:
        weakref.finalize(self, host.end)

    def __reduce__(self) -> NoReturn:
        """Refuse to be sent or written: TypeError."""
        raise TypeError("a lease stays in its worker")


def begin(sending: Sending) -> Lease:
    """Start the training process of a flow; return its lease.

    UnusableWorkerError says why it cannot train, StartLostError that it has died.
    """
    refuse_other_versions(sending.facts)
    refuse_unseen_file(sending)
    if (earlier := _hosts.pop(sending.flow, None)) is not None:
        earlier.end()
    host = Host(sending)
    try:
        host.hello()
    except UnusableWorkerError:
        host.end()
        raise
    _hosts[sending.flow] = host
    return Lease(host)


def train_at(flow: str, message: bytes, token: str) -> bytes:
    """Let the process of a flow train a job; return its pickled answer: `Trained`, `Died`, or an error to raise."""
    from distributed import get_worker  # noqa: PLC0415 - an extra

    host = _hosts.get(flow)
    if host is None:
        return pickle.dumps(Died("its training process was let go"))
    worker = get_worker()
    return host.train(message, token, lambda record: worker.log_event(topic_of(flow), record))


def topic_of(flow: str) -> str:
    """Return the topic of the records of a flow's workers."""
    return f"nightune-{flow}"


def refuse_other_versions(facts: Mapping[str, object]) -> None:
    """Raise UnusableWorkerError unless this machine has the versions of the flow: values could differ in silence."""
    here = _facts(facts)
    wrong = [f"{name} {here[name]} (the command has {facts[name]})" for name in facts if here[name] != facts[name]]
    if wrong:
        raise UnusableWorkerError(f"it has {', '.join(wrong)}; install the same versions there")


def refuse_unseen_file(sending: Sending) -> None:
    """Raise UnusableWorkerError where results are in files of another machine: SQLite's, or artifacts."""
    if sending.tracking.is_file and not (sees(sending.mark) and sending.mark.machine == machine()):
        raise UnusableWorkerError(
            "it is on another machine, and the results or their artifacts are in files of the command's. Start a "
            "server, such as `mlflow server --host 0.0.0.0`, and set MLFLOW_TRACKING_URI of the command to its address "
            "(docs/stores.md)"
        )


def shared_facts(backend: str) -> dict[str, object]:
    """Return what must be equal on all machines: Python's minor version and the packages that trials depend on."""
    return _facts(("python", *SAME, backend))


def _facts(names: Iterable[str]) -> dict[str, object]:
    found = environment()
    packages = found["packages"]
    assert isinstance(packages, dict)
    python = ".".join(str(found["python"]).split(".")[:2])
    return {name: python if name == "python" else packages.get(name, "missing") for name in names}


class Host:
    """A training process, and the thread that starts it and ends it."""

    def __init__(self, sending: Sending) -> None:
        self._sending = sending
        self._let_go = threading.Event()
        self._started = threading.Event()
        self._turn = threading.Lock()  # one job at a time
        self._seen: set[str] = set()
        self._hangs = False
        self._process: subprocess.Popen[bytes] | None = None
        self._connection, self._other = Pipe()
        threading.Thread(target=self._keep, daemon=True).start()
        self._started.wait()

    def hello(self) -> None:
        """Wait until the process can train; UnusableWorkerError says why it cannot, StartLostError that it has died."""
        try:
            if not self._connection.poll(HELLO_SECONDS):
                raise StartLostError(f"its training process has not answered within {HELLO_SECONDS:.0f} s")
            problem = str(self._connection.recv())
        except (EOFError, OSError):
            cause = self._died().cause
            reason = f"its training process ended while it started ({cause}); its reason is in the log there"
            raise StartLostError(reason) from None
        if problem:
            raise UnusableWorkerError(problem)

    def train(self, message: bytes, token: str, forward: Callable[[bytes], None]) -> bytes:
        """Let the process train a job, and forward its records; return its answer."""
        with self._turn:
            if token in self._seen:  # by Dask, after a loss that the flow has handled
                return pickle.dumps(Died("a job was sent a second time"))
            self._seen.add(token)
            try:
                self._connection.send_bytes(message)
                while True:
                    is_answer, body = self._received()
                    if is_answer:
                        return bytes(body)
                    if body:  # not only a sign of life
                        forward(body)
            except (EOFError, OSError):
                return pickle.dumps(self._died())

    def _received(self) -> tuple[bool, bytes]:
        """Return what comes next from the process; EOFError once it has ended, or was killed because it hangs."""
        silence = Silence()
        while not self._connection.poll(POLL_SECONDS):
            if silence.seconds("", None) > HANG_SECONDS and self._process is not None:
                self._hangs = True
                self._process.kill()
                raise EOFError
        is_answer, body = self._connection.recv()
        return bool(is_answer), bytes(body)

    def end(self) -> None:
        """Let the process end: its training stops with its epoch, or is killed later."""
        self._let_go.set()
        if _hosts.get(self._sending.flow) is self:
            del _hosts[self._sending.flow]

    def _keep(self) -> None:
        """Start the process, and end it when it is let go. It dies with this thread, so with Dask's worker."""
        try:
            self._start()
        finally:
            self._other.close()
            self._started.set()
        assert self._process is not None
        while not self._let_go.wait(POLL_SECONDS):
            if self._process.poll() is not None:
                return
        self._process.terminate()
        try:
            self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _start(self) -> None:
        command = (sys.executable, "-P", "-m", self._sending.module)
        handle = self._other.fileno()
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=self._environment(), pass_fds=(handle,)
        )
        start = HostedStart(handle, store_of_worker(), self._sending.tracking)
        assert self._process.stdin is not None
        with suppress(BrokenPipeError), self._process.stdin as sent:
            sent.write(pickle.dumps(start))

    def _environment(self) -> dict[str, str]:
        found = child_environment() | {SUPERVISOR: str(os.getpid()), "NIGHTUNE_STORE": str(store_of_worker())}
        of_flow = self._sending.environment
        own = {name: value for name, value in found.items() if name not in of_flow and name != "NIGHTUNE_DASK"}
        return own | {name: value for name, value in of_flow.items() if value is not None}

    def _died(self) -> Died:
        if self._process is None:
            return Died("it could not be started")
        try:
            code = self._process.wait(POLL_SECONDS * 10)
        except subprocess.TimeoutExpired:  # it has closed its connection only
            self._process.kill()
            code = self._process.wait()
        cause = signal_name(-code) if code < 0 else f"exit code {code}"
        if self._hangs:
            cause = f"it hangs: no sign of life for {HANG_SECONDS:.0f} s"
        log = open_crash_log(store_of_worker(), self._sending.study, place_of(self._process.pid))
        record = log.take_training(self._process.pid)
        return Died(cause, *(() if record is None else (str(record["key"]), str(record["limit"]))))


def place_of(process: int) -> str:
    """Return the name of a training process in the crash log of its machine."""
    return f"worker-{process}"


def store_of_worker() -> Path:
    """Return the folder of a worker's machine: its NIGHTUNE_STORE, else one among its temporary files."""
    settings = read_settings()
    if "store" in settings.model_fields_set:
        return settings.store.resolve()
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return Path(tempfile.gettempdir()).resolve() / f"nightune-{user}"


_hosts: dict[str, Host] = {}  # by flow; of this worker
