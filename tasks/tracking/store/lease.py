"""A study's lease in a shared store: one machine at a time works on a study, and a dead holder's lease runs out.

A lock file keeps processes of one machine apart. Machines that share a tracking server see only the server, and MLflow
has no compare-and-set: so a holder writes its name into a tag of the study's experiment, waits, and reads it again;
of several writers the last one reads itself. The holder then writes a new beat every half minute.
"""

import json
import logging
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.errors import StoreError, StudyBusyError
from nightune.tasks.tracking.store.retry import patience

logger = logging.getLogger("nightune")


@dataclass(frozen=True)
class Pace:
    """Seconds between two beats, to the end of a lease without them, and until a writer trusts what it reads back."""

    beat: float = 30.0
    expiry: float = 120.0
    settling: float = 2.0


@dataclass(frozen=True)
class Lease:
    """Who works on a study. `token` is the holder's alone; `beat` is its clock's time of the last sign of life."""

    token: str
    host: str
    process: int
    beat: float

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}"


@contextmanager
def study_lease(client: Any, experiment_id: str, study_name: str, pace: Pace | None = None) -> Iterator[None]:
    """Hold the study's lease while the block runs; StudyBusyError if another machine's process is alive with it."""
    pace = pace or Pace()
    mine = _take(client, experiment_id, study_name, pace)
    ended = threading.Event()
    beats = threading.Thread(target=_beat, args=(client, experiment_id, mine, pace, ended), daemon=True)
    beats.start()
    try:
        yield
    finally:
        ended.set()
        beats.join()
        _release(client, experiment_id, mine)


def _take(client: Any, experiment_id: str, study_name: str, pace: Pace) -> Lease:
    held = read_lease(client, experiment_id)
    if held is not None and _is_alive(held, lambda: read_lease(client, experiment_id), pace):
        raise StudyBusyError(
            f"{study_name}: another sweep of this study is running ({held}). "
            "Wait for its end, or stop it; then run the same command again."
        )
    mine = Lease(uuid.uuid4().hex, socket.gethostname(), os.getpid(), time.time())
    _write(client, experiment_id, mine)
    time.sleep(pace.settling)
    now = read_lease(client, experiment_id)
    if now is None or now.token != mine.token:
        raise StudyBusyError(
            f"{study_name}: another sweep of this study has begun at the same moment ({now or 'and ended'}). "
            "Run the same command again."
        )
    return mine


def read_lease(client: Any, experiment_id: str) -> Lease | None:
    """Return the lease that is written down, alive or not; None where the study is free."""
    text = client.get_experiment(experiment_id).tags.get(names.LEASE, "")
    try:
        return Lease(**json.loads(text)) if text else None
    except (ValueError, TypeError):
        return None


def _is_alive(held: Lease, read: Callable[[], Lease | None], pace: Pace) -> bool:
    is_fresh = abs(time.time() - held.beat) < pace.expiry
    if held.host == socket.gethostname():
        return is_fresh and _is_running(held.process)
    if is_fresh:
        return True
    time.sleep(pace.beat * 1.5)  # clocks of two machines may differ by more than a lease lasts
    later = read()
    return later is not None and later != held


def _is_running(process: int) -> bool:
    if process == os.getpid():
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _beat(client: Any, experiment_id: str, mine: Lease, pace: Pace, ended: threading.Event) -> None:
    while not ended.wait(pace.beat):
        try:
            with patience(0.0):
                held = read_lease(client, experiment_id)
                if held is not None and held.token != mine.token:
                    logger.warning("%s has taken this study over: this sweep stops, and that one goes on", held)
                    os.kill(os.getpid(), _interrupt())  # wakes a sleeper, too
                    return
                _write(client, experiment_id, replace(mine, beat=time.time()))
        except StoreError:
            continue  # the training waits for the store, and tells it; a beat may be missed


def _interrupt() -> signal.Signals:
    """The signal that interrupts the main thread: jobs started with & ignore SIGINT, and take SIGTERM for it."""
    return signal.SIGTERM if signal.getsignal(signal.SIGINT) is signal.SIG_IGN else signal.SIGINT


def _release(client: Any, experiment_id: str, mine: Lease) -> None:
    try:
        with patience(2.0):
            held = read_lease(client, experiment_id)
            if held is not None and held.token == mine.token:
                client.set_experiment_tag(experiment_id, names.LEASE, "")
    except StoreError:
        logger.warning("the lease of the study could not be given back; it runs out by itself")


def _write(client: Any, experiment_id: str, lease: Lease) -> None:
    client.set_experiment_tag(experiment_id, names.LEASE, json.dumps(asdict(lease)))
