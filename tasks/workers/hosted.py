"""The process that trains for a flow on the machine of a cluster's worker: it serves one connection, then ends."""

import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from nightune.models.backend import load_keras
from nightune.models.kept_code import code_kept
from nightune.tasks.tracking.store.autologging import without_autologging
from nightune.tasks.tracking.store.errors import StoreError, StoreLostError
from nightune.tasks.tracking.store.retry import masked, retry_limit
from nightune.tasks.tracking.store.store import Store, client, prepare_client
from nightune.tasks.workers.host import BEAT_SECONDS, Died, HostedStart, place_of
from nightune.tasks.workers.job import train_hosted
from nightune.tasks.workers.stopping import stop
from nightune.tasks.workers.travel import Travelling

ANSWER_SECONDS = 10.0  # of the tracking server, before a worker is refused


def serve_hosted(start: HostedStart) -> None:
    """Train what comes through the connection until it ends, or this process is stopped by SIGTERM."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda _number, _frame: stop())
    prepare_client()
    store = Store(start.root, start.tracking.uri)
    with Connection(start.descriptor) as connection, code_kept(), without_autologging():
        problem = _folder_problem(start.root) or _tracking_problem(store, start.tracking.sweep_run)
        connection.send(problem)
        if problem:
            return
        load_keras(store.compiled)
        sender = _Sender(connection)
        while True:
            try:
                message = connection.recv_bytes()
            except EOFError:  # Dask's worker has ended
                return
            with sender.beating():
                answer = _answer(message, start.root, partial(sender.send, is_answer=False))
            sender.send(answer, is_answer=True)


class _Sender:
    """Sends records and answers, from several threads."""

    def __init__(self, connection: "Connection[Any, Any]") -> None:
        self._connection, self._lock = connection, threading.Lock()

    def send(self, body: bytes, *, is_answer: bool) -> None:
        """Send one of them; the host tells them apart."""
        with self._lock:
            self._connection.send((is_answer, body))

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Send an empty record every few seconds while the block runs: its host kills a process that hangs."""
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(BEAT_SECONDS):
                with suppress(OSError):  # the host has ended, and this process ends with it
                    self.send(b"", is_answer=False)

        threading.Thread(target=beat, daemon=True).start()
        try:
            yield
        finally:
            ended.set()


def _answer(message: bytes, root: Path, send: Callable[[bytes], None]) -> bytes:
    """Train a job, and return what the flow gets: pickled results, or the error that ended the job."""
    travelling = pickle.loads(message)
    assert isinstance(travelling, Travelling)
    try:
        job, setting = travelling.arrived(root)
        return pickle.dumps(train_hosted(job, setting, send, place_of(os.getpid())))
    except (OSError, StoreLostError) as error:  # of this machine, or of its network: others may train on
        return pickle.dumps(Died(f"{type(error).__name__}: {error}", is_fault=True))
    except Exception as error:
        try:
            pickle.loads(sent := pickle.dumps(error))
        except Exception:  # an error that cannot travel, of a library
            return pickle.dumps(StoreError(f"{type(error).__name__}: {error}"))
        return sent


def _folder_problem(root: Path) -> str:
    """Say why the machine's folder cannot be used; it is made for this user alone."""
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if hasattr(os, "getuid") and root.stat().st_uid != os.getuid():
            return f"its folder {root} belongs to another user; set NIGHTUNE_STORE there to a folder of your own"
        probe = root / f".probe-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        return f"its folder {root} cannot be written ({error}); set NIGHTUNE_STORE there to another folder"
    return ""


def _tracking_problem(store: Store, sweep_run: str) -> str:
    """Say why this machine cannot write to the flow's tracking server: it must find the run of the sweep there."""
    try:
        with retry_limit(ANSWER_SECONDS):
            client(store).get_run(sweep_run)
    except Exception as error:  # whatever MLflow and its transport raise
        reason = " ".join(str(error).split())[:300]
        return (
            f"the sweep is not found at {masked(store.tracking_uri)} from there ({reason}); set MLFLOW_TRACKING_URI of "
            "the command to an MLflow server that all machines reach by one address, with its password in the "
            "environment of the workers"
        )
    return ""
