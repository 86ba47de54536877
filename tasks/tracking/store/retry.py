"""Patience with a store that does not answer: wait, say so, try again, and give up within a bound.

A locked database, a full disk and a lost server are faults of the machine that pass. What MLflow refuses for good,
such as an unknown run, is raised at once.
"""

import errno
import logging
import random
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from nightune.settings import read_settings
from nightune.tasks.tracking.store.errors import StoreLostError

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0
HURRIED_SECONDS = 2.0  # a stop must be short; the next start closes what is left open

PASSING_CODES = ("TEMPORARILY_UNAVAILABLE", "INTERNAL_ERROR", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED")
PASSING_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.ESTALE}
# SQLAlchemy's failures reach us as text: MLflow turns the exception into a message.
PASSING_WORDS = re.compile(
    r"database is locked|disk is full|disk I/O error|readonly database|unable to open database"
    r"|Max retries exceeded|[Cc]onnection|timed out|Read-only file system|No space left"
)

logger = logging.getLogger("nightune")
_bound: ContextVar[float | None] = ContextVar("store_patience_seconds", default=None)
_hurried = threading.Event()
_jitter = random.Random()  # not the shared generator, from which models being built take their seeds


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Wait no longer than this for the store inside: little, where the way out must be short."""
    token = _bound.set(seconds)
    try:
        yield
    finally:
        _bound.reset(token)


@contextmanager
def hurried() -> Iterator[None]:
    """While the block runs no thread waits for long, also one that waits already: somebody asked to stop."""
    _hurried.set()
    try:
        yield
    finally:
        _hurried.clear()


def patiently(action: Callable[[], Any], address: str, again: Callable[[], Any] | None = None) -> Any:
    """Return what the action returns, tried again after faults that pass; StoreLostError after the bound.

    `again` replaces the action after a fault: it may first look whether the action came through all the same.
    """
    started_at, pause, is_told = time.monotonic(), FIRST_PAUSE_SECONDS, False
    while True:
        try:
            return action()
        except Exception as error:
            reason = passing_fault(error)
            if reason is None:
                raise
            left = _patience_seconds() - (time.monotonic() - started_at)
            if left <= 0:
                raise StoreLostError(_what_to_do(address, reason, time.monotonic() - started_at)) from error
        if not is_told:
            logger.warning("the store does not answer (%s); waiting for it, at most %.0f s", reason, left)
            is_told = True
        pause_now = min(left, pause * _jitter.uniform(0.7, 1.3))  # processes that wait do not knock together
        if _hurried.is_set():
            time.sleep(min(pause_now, FIRST_PAUSE_SECONDS))
        else:
            _hurried.wait(pause_now)
        pause, action = min(2 * pause, LONGEST_PAUSE_SECONDS), again or action


class PatientClient:
    """An MLflow client whose every call is patient. A run is made once, also where the answer to its making is lost."""

    def __init__(self, client: Any, address: str) -> None:
        self._client, self._address = client, address

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if not callable(method):
            return method
        return lambda *values, **options: patiently(lambda: method(*values, **options), self._address)

    def create_run(self, experiment_id: str, *, tags: dict[str, str], **options: Any) -> Any:
        """Make a run; after a fault, look by a mark of its own whether it was made."""
        mark = uuid.uuid4().hex
        marked = {**tags, "nightune.request": mark}

        def create() -> Any:
            return self._client.create_run(experiment_id, tags=marked, **options)

        def find_or_create() -> Any:
            found = self._client.search_runs([experiment_id], f"tags.`nightune.request` = '{mark}'", max_results=1)
            return found[0] if found else create()

        return patiently(create, self._address, find_or_create)


def passing_fault(error: BaseException) -> str | None:
    """Name the fault in one line if it may pass by itself, else None."""
    text = _in_one_line(error)
    library = type(error).__module__.partition(".")[0]
    if isinstance(error, OSError) and (error.errno in PASSING_ERRNOS or "No space left" in str(error)):
        return text  # HDF5 says it in words alone
    if isinstance(error, TimeoutError | ConnectionError) or library in ("requests", "urllib3", "http"):
        return text
    if getattr(error, "error_code", None) in PASSING_CODES or PASSING_WORDS.search(str(error)):
        return text if library in ("mlflow", "sqlalchemy", "sqlite3") else None
    return None


def _in_one_line(error: BaseException) -> str:
    """The cause that stands inside MLflow's and SQLAlchemy's words, without addresses' secrets."""
    text = str(error).strip()
    cause = re.search(r"\((?:sqlite3|psycopg2?|pymysql)[.\w]*\) ([^\n]+)|Caused by \w+\((.+)\)", text)
    said = next(part for part in cause.groups() if part) if cause else (text.splitlines() or [""])[0]
    return masked(said or type(error).__name__)[:200].strip("\"'")


def masked(text: str) -> str:
    """The text without the passwords and tokens of the addresses in it."""
    return re.sub(r"(\w[\w+.-]*://)[^/@\s]+@", r"\1***@", text)


def _patience_seconds() -> float:
    bound = _bound.get()
    seconds = read_settings().store_patience_seconds if bound is None else bound
    return min(seconds, HURRIED_SECONDS) if _hurried.is_set() else seconds


def _what_to_do(address: str, reason: str, seconds: float) -> str:
    return (
        f"{masked(address)}: the store has not answered for {seconds:.0f} s ({reason}). Finished trials are kept. "
        "Free the disk, end what locks the database or start the server again; then run the same command, and the "
        "sweep goes on. (NIGHTUNE_STORE_PATIENCE_SECONDS sets how long to wait.)"
    )
