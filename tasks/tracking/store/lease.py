"""A study's lease in a shared store: one machine at a time runs a study, and the lease of a dead holder expires.

A lock file excludes other processes of one machine. Machines that share a tracking server see only the server, and
MLflow has no compare-and-set: a holder writes its name into a tag of the study's experiment, waits, and reads the tag
again; of several writers, only the last one reads its own name. The holder then renews the lease every half minute.
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
from nightune.tasks.tracking.store.retry import retry_limit

logger = logging.getLogger("nightune")


@dataclass(frozen=True)
class Pace:
    """Seconds between two renewals, until a lease expires without one, and until a writer can trust what it reads."""

    beat: float = 30.0
    expiry: float = 120.0
    settling: float = 2.0


@dataclass(frozen=True)
class Lease:
    """The holder of a study. `token` is unique to it; `beat` is the time of its last renewal by its own clock."""

    token: str
    host: str
    process: int
    beat: float

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}"


@contextmanager
def study_lease(client: Any, experiment_id: str, study_name: str, pace: Pace | None = None) -> Iterator[None]:
    """Hold the study's lease while the block runs; StudyBusyError if a live process holds it."""
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
            "Wait until it ends, or stop it; then run the same command again."
        )
    mine = Lease(uuid.uuid4().hex, socket.gethostname(), os.getpid(), time.time())
    _write(client, experiment_id, mine)
    time.sleep(pace.settling)
    now = read_lease(client, experiment_id)
    if now is None or now.token != mine.token:
        raise StudyBusyError(
            f"{study_name}: another sweep of this study has started at the same moment ({now or 'and ended'}). "
            "Run the same command again."
        )
    return mine


def is_leased(client: Any, experiment_id: str, pace: Pace | None = None) -> bool:
    """Return whether a live process holds the study, on any machine; nothing is written."""
    held = read_lease(client, experiment_id)
    return held is not None and _is_alive(held, lambda: read_lease(client, experiment_id), pace or Pace())


def read_lease(client: Any, experiment_id: str) -> Lease | None:
    """Return the stored lease, expired or not; None if the study is free."""
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
    logger.info("%s held the study; watching for %.0f s whether it still does …", held, pace.beat * 1.5)
    time.sleep(pace.beat * 1.5)  # the clocks of two machines may differ by more than the expiry: watch for a renewal
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
            with retry_limit(0.0):
                held = read_lease(client, experiment_id)
                if held is not None and held.token != mine.token:
                    logger.warning("%s has taken over this study: stopping this sweep, the other one continues", held)
                    os.kill(os.getpid(), _interrupt())  # interrupts sleep, too
                    return
                _write(client, experiment_id, replace(mine, beat=time.time()))
        except StoreError:
            continue  # the training retries and logs it; a renewal may be missed


def _interrupt() -> signal.Signals:
    """Return the signal that interrupts the main thread: jobs started with & ignore SIGINT, so SIGTERM there."""
    return signal.SIGTERM if signal.getsignal(signal.SIGINT) is signal.SIG_IGN else signal.SIGINT


def _release(client: Any, experiment_id: str, mine: Lease) -> None:
    try:
        with retry_limit(2.0):
            held = read_lease(client, experiment_id)
            if held is not None and held.token == mine.token:
                client.set_experiment_tag(experiment_id, names.LEASE, "")
    except StoreError:
        logger.warning("the study's lease could not be released; it expires by itself")


def _write(client: Any, experiment_id: str, lease: Lease) -> None:
    client.set_experiment_tag(experiment_id, names.LEASE, json.dumps(asdict(lease)))
