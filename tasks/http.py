"""HTTP requests that keep their addresses, which may hold secrets, out of the logs."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl

LIBRARIES = ("httpx", "httpcore")
LOOPBACK = "http://127.0.0.1:"


def request_status(
    method: str, address: str, timeout_seconds: float, json: Any = None, connect_seconds: float | None = None
) -> int:
    """Send a request and return the status of its answer, redirects followed.

    `connect_seconds` limits the wait for a connection; by default it is the time limit of the answer.

    OSError if no answer comes, without the address in its text. ValueError if the address or the JSON cannot be sent.
    """
    import httpx  # noqa: PLC0415 - help does not need it

    with _quiet():
        try:
            limits = httpx.Timeout(timeout_seconds, connect=connect_seconds or timeout_seconds)
            return httpx.request(
                method, address, json=json, timeout=limits, follow_redirects=True, verify=_certificates(address)
            ).status_code
        except httpx.InvalidURL as error:
            raise ValueError("not an address") from error
        except (httpx.HTTPError, ImportError) as error:  # ImportError: a proxy of a kind that httpx has an extra for
            raise OSError(type(error).__name__) from error


def prepare_request(address: str) -> None:
    """Import what a request to the address needs, and read certificates: that takes seconds on a busy machine."""
    import httpx  # noqa: PLC0415 - as above

    httpx.Client(verify=_certificates(address)).close()  # imports what `import httpx` leaves for the first request


def _certificates(address: str) -> "ssl.SSLContext | bool":
    return False if address.startswith(LOOPBACK) else _trusted()  # a redirect may lead to https


@lru_cache(maxsize=1)
def _trusted() -> "ssl.SSLContext":
    import httpx  # noqa: PLC0415 - as above

    return httpx.create_ssl_context()  # takes 0.15 s


@contextmanager
def _quiet() -> Iterator[None]:
    """The libraries log whole addresses at level INFO."""
    loggers = [logging.getLogger(name) for name in LIBRARIES]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
