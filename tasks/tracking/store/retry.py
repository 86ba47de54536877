"""Retry calls to a store that does not answer, with backoff, a log line and a time limit.

A locked database, a full disk and a lost server are transient faults. Permanent errors, such as an unknown run, are
raised at once.
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
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from nightune.phases import TRACKING, WAITING, phase
from nightune.settings import read_settings
from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.client_process import process_for
from nightune.tasks.tracking.store.errors import RefusedRequestError, StoreLostError
from nightune.tasks.tracking.store.storable import storable

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0
SHORT_LIMIT_SECONDS = 2.0  # after an interrupt; the next start closes runs that stay open

TRANSIENT_CODES = ("TEMPORARILY_UNAVAILABLE", "INTERNAL_ERROR", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED")
TRANSIENT_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.ESTALE}
# SQLAlchemy's errors arrive as text: MLflow converts the exception to a message.
TRANSIENT_WORDS = re.compile(
    r"database is locked|disk is full|disk I/O error|readonly database|unable to open database"
    r"|Max retries exceeded|[Cc]onnection|timed out|Read-only file system|No space left"
)

FILES = ("log_dict", "log_text")  # may have any text
UNKNOWN_HOST = "Invalid Host header"  # of MLflow's server, to a name that its --allowed-hosts does not list
READING = ("download_artifacts", "list_artifacts")  # a missing file is an OSError
KEPT = ("get_run", "search_runs")  # answers that `reading_once` keeps
READS = ("get_", "search_", "list_", "download_")  # calls that change nothing begin with one of these

logger = logging.getLogger("nightune")
_limit: ContextVar[float | None] = ContextVar("store_retry_limit", default=None)
_kept: ContextVar[dict[str, Any] | None] = ContextVar("store_kept_answers", default=None)
_is_short = threading.Event()
_jitter = random.Random()  # not the shared generator, from which new models draw their seeds


@contextmanager
def retry_limit(seconds: float) -> Iterator[None]:
    """Limit retries inside the block to this many seconds; few where the process must end soon."""
    token = _limit.set(seconds)
    try:
        yield
    finally:
        _limit.reset(token)


@contextmanager
def short_retries() -> Iterator[None]:
    """Shorten the retries of all threads while the block runs, those in progress included: the user asked to stop."""
    _is_short.set()
    try:
        yield
    finally:
        _is_short.clear()


@contextmanager
def reading_once() -> Iterator[None]:
    """Ask the store once for each run, and each search of up to a page, until the block ends or writes something."""
    token = _kept.set({})
    try:
        yield
    finally:
        _kept.reset(token)


def retry_call(action: Callable[[], Any], address: str, again: Callable[[], Any] | None = None) -> Any:
    """Return the action's result, retrying after transient faults; StoreLostError after the time limit.

    `again` replaces the action after a fault: it can first check whether the action succeeded despite the fault.
    """
    started_at, pause, is_logged = time.monotonic(), FIRST_PAUSE_SECONDS, False
    while True:
        try:
            return action()
        except Exception as error:
            reason = transient_fault(error)
            if reason is None:
                raise
            left = _limit_seconds() - (time.monotonic() - started_at)
            if left <= 0:
                raise StoreLostError(_lost_message(address, reason, time.monotonic() - started_at)) from error
        if not is_logged:
            logger.warning("the store does not answer (%s); waiting for it, at most %.0f s", reason, left)
            is_logged = True
        pause_now = min(left, pause * _jitter.uniform(0.7, 1.3))  # waiting processes must not retry in step
        with phase(WAITING):
            if _is_short.is_set():
                time.sleep(min(pause_now, FIRST_PAUSE_SECONDS))
            else:
                _is_short.wait(pause_now)
        pause, action = min(2 * pause, LONGEST_PAUSE_SECONDS), again or action


class RetryingClient:
    """An MLflow client that retries every call. A run is created once, even if the answer to its creation is lost."""

    def __init__(self, client: Any, address: str) -> None:
        self._client, self._address = client, address

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if not callable(method):
            return method
        method = partial(self._made, name, method)
        if name in KEPT:
            return lambda *values, **options: self._read(name, method, storable(values), storable(options))
        if name in FILES:
            return lambda *values, **options: self._call(name, lambda: method(*values, **options))
        return lambda *values, **options: self._call(name, lambda: method(*storable(values), **storable(options)))

    def _made(self, name: str, method: Callable[..., Any], /, *values: Any, **options: Any) -> Any:
        """Return what a method of MLflow's client returns; in a background write another process may call it."""
        process = process_for(self._address, name)
        if process is None:
            return method(*values, **options)
        return process.call(name, *values, **options)

    def _read(self, name: str, method: Callable[..., Any], values: Any, options: Any) -> Any:
        """Return an answer that `reading_once` keeps; of a search of several pages it would take too much memory."""
        kept = _kept.get()
        if kept is None:
            return self._call(name, lambda: method(*values, **options))
        asked = repr((self._address, name, values, options))
        if asked in kept:
            return kept[asked]
        answer = self._call(name, lambda: method(*values, **options))
        if not getattr(answer, "token", None):
            kept[asked] = answer
        return answer

    def _call(self, name: str, action: Callable[[], Any]) -> Any:
        """Retry a call; turn MLflow's own error into ours."""
        if not name.startswith(READS):
            _forget()
        try:
            with phase(TRACKING):
                return retry_call(action, self._address)
        except Exception as error:
            code = str(getattr(error, "error_code", ""))
            if not code and not (isinstance(error, OSError) and name in READING):
                raise
            raise RefusedRequestError(_refused_message(self._address, error), code) from error

    def create_run(self, experiment_id: str, *, tags: dict[str, str], **options: Any) -> Any:
        """Create a run; after a fault, search by a unique tag whether it was created."""
        _forget()
        mark = uuid.uuid4().hex
        marked = storable({**tags, names.REQUEST: mark})

        def create() -> Any:
            method = self._client.create_run
            return self._made("create_run", method, experiment_id, tags=marked, **storable(options))

        def find_or_create() -> Any:
            found = self._client.search_runs([experiment_id], names.tag_equals(names.REQUEST, mark), max_results=1)
            return found[0] if found else create()

        return retry_call(create, self._address, find_or_create)


def _forget() -> None:
    if (kept := _kept.get()) is not None:
        kept.clear()


def transient_fault(error: BaseException) -> str | None:
    """Describe the fault in one line if it is transient, else None."""
    text = in_one_line(error)
    library = type(error).__module__.partition(".")[0]
    if isinstance(error, OSError) and (error.errno in TRANSIENT_ERRNOS or "No space left" in str(error)):
        return text  # HDF5 reports it only in its text
    if isinstance(error, TimeoutError | ConnectionError) or library in ("requests", "urllib3", "http"):
        return text
    if getattr(error, "error_code", None) in TRANSIENT_CODES or TRANSIENT_WORDS.search(str(error)):
        return text if library in ("mlflow", "sqlalchemy", "sqlite3") else None
    return None


def in_one_line(error: BaseException) -> str:
    """Extract the cause from the texts of MLflow and SQLAlchemy, without the secrets of addresses."""
    text = str(error).strip()
    cause = re.search(r"\((?:sqlite3|psycopg2?|pymysql)[.\w]*\) ([^\n]+)|Caused by \w+\((.+)\)", text)
    reason = next(part for part in cause.groups() if part) if cause else (text.splitlines() or [""])[0]
    return masked(reason or type(error).__name__)[:200].strip("\"'")


def masked(text: str) -> str:
    """Return the text with the passwords and tokens of its addresses masked; those of databases may have any `/`."""
    shown = re.sub(r"((?:postgresql|mysql|mssql)[\w+]*://)[^\s'\"]+@", r"\1***@", text)
    shown = re.sub(r"(\w[\w+.-]*://)[^/@\s]+@", r"\1***@", shown)
    return re.sub(r"([?&]\w*(?:password|pwd|token)=)[^&\s'\"]+", r"\1***", shown, flags=re.IGNORECASE)


def _limit_seconds() -> float:
    limit = _limit.get()
    seconds = read_settings().store_patience_seconds if limit is None else limit
    return min(seconds, SHORT_LIMIT_SECONDS) if _is_short.is_set() else seconds


def _refused_message(address: str, error: Exception) -> str:
    if UNKNOWN_HOST in str(error):
        host = urlsplit(masked(address)).netloc.rpartition("@")[2]
        return (
            f"{masked(address)}: MLflow's server does not answer to this name; start it with --allowed-hosts {host} "
            "(names and ports with commas between them)"
        )
    return (
        f"{masked(address)}: MLflow reports: {in_one_line(error)} If this was deleted or changed on MLflow's pages, "
        "restore it there; `nightune doctor` lists damaged records."
    )


def _lost_message(address: str, reason: str, seconds: float) -> str:
    return (
        f"{masked(address)}: the store has not answered for {seconds:.0f} s ({reason}). Finished trials are kept. "
        "Free the disk, end the process that locks the database or restart the server; then run the same command to "
        "resume the sweep. (NIGHTUNE_STORE_PATIENCE_SECONDS sets the time limit of retries.)"
    )
