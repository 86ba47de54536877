"""Ask a named store for a sign of life before anything else: a wrong or dead address is reported within seconds.

Only a store that was reached before is waited for (retry.py).
"""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from nightune.settings import read_settings
from nightune.tasks.http import prepare_request, request_status
from nightune.tasks.tracking.store.errors import StoreError
from nightune.tasks.tracking.store.retry import in_one_line, masked

if TYPE_CHECKING:
    from sqlalchemy import Engine

CONNECT_SECONDS = 3.0
LIMIT_SECONDS = 10.0  # in all: looking up a name has no limit of its own, and a busy server takes seconds to answer
SERVERS = ("http://", "https://")
PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}

_reached: set[str] = set()  # addresses that have answered this process


def require_answer(tracking_uri: str) -> None:
    """Raise StoreError unless a server answers at the address of a store; files of this machine are not asked.

    Children of a supervisor and of `nightune serve` do not ask: their parent has reached the store.
    """
    settings = read_settings()
    if tracking_uri in _reached or settings.supervisor is not None or settings.served_by is not None:
        return
    _prepare(tracking_uri)
    fault = _within_limit(lambda: _fault(tracking_uri))
    if not fault and _names_a_database_host(tracking_uri):
        fault = _within_limit(lambda: _refusal(tracking_uri), "")
    if fault:
        address = masked(tracking_uri).partition("?")[0]
        raise StoreError(
            f"MLFLOW_TRACKING_URI: no MLflow store answers at {address} ({fault}). Start its server, correct the "
            "address, or unset the variable to use the store in the folder."
        )
    _reached.add(tracking_uri)


def _prepare(tracking_uri: str) -> None:
    """Import what the question needs: seconds on a busy machine, which are no delay of the store's.

    A process that ends while a thread of it imports, or reads certificates, may be ended by a segmentation fault.
    """
    with suppress(Exception):  # such as a file of certificates that is missing: the question fails by it, too
        if tracking_uri.startswith(SERVERS):
            prepare_request(tracking_uri)
        elif _names_a_database_host(tracking_uri):
            _engine(tracking_uri)


def _fault(tracking_uri: str) -> str:
    """Say why the store does not answer; empty if it does."""
    try:
        if tracking_uri.startswith(SERVERS):
            status = _status(tracking_uri, "/health")
            if status == 404:  # of another program, or of a service that has MLflow's interface but not this page
                status = _status(tracking_uri, "/api/2.0/mlflow/experiments/search?max_results=1")
            return f"status {status}" if status == 404 or status >= 500 else ""  # it may ask for a password
        parts = urlsplit(tracking_uri)
        port = parts.port or PORTS.get(parts.scheme.partition("+")[0])
        if parts.hostname and port:
            socket.create_connection((parts.hostname, port), CONNECT_SECONDS).close()
    except ValueError:
        return ""  # an address of several hosts, or of a form that only its driver reads
    except OSError as error:
        return error.strerror or str(error) or type(error).__name__
    return ""


def _status(tracking_uri: str, page: str) -> int:
    return request_status("GET", tracking_uri.rstrip("/") + page, LIMIT_SECONDS, None, CONNECT_SECONDS)


def _names_a_database_host(tracking_uri: str) -> bool:
    try:
        return not tracking_uri.startswith(SERVERS) and bool(urlsplit(tracking_uri).hostname)
    except ValueError:
        return False  # an address that only its driver reads


def _refusal(tracking_uri: str) -> str:
    """Say why a database does not let us in, such as a wrong password; empty if it does, or cannot be asked."""
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 - takes a moment; most stores are files or servers

    try:
        _engine(tracking_uri).connect().close()
    except SQLAlchemyError as error:
        return in_one_line(error)
    except ImportError:
        return ""  # require_database names the driver
    return ""


def _engine(tracking_uri: str) -> "Engine":
    """Return what connects to a database, with its driver imported."""
    from sqlalchemy import create_engine  # noqa: PLC0415 - as above
    from sqlalchemy.pool import NullPool  # noqa: PLC0415

    return create_engine(tracking_uri, poolclass=NullPool)


def _within_limit(question: Callable[[], str], without_answer: str = "no answer") -> str:
    answers: list[str] = []
    thread = threading.Thread(target=lambda: answers.append(question()), daemon=True)
    thread.start()
    thread.join(LIMIT_SECONDS)
    return answers[0] if answers else without_answer
