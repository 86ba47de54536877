"""HTTP requests that keep their addresses, which may hold secrets, out of the logs."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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
            has_certificates = not address.startswith(LOOPBACK)  # to read them takes 0.15 s
            return httpx.request(
                method, address, json=json, timeout=limits, follow_redirects=True, verify=has_certificates
            ).status_code
        except httpx.InvalidURL as error:
            raise ValueError("not an address") from error
        except (httpx.HTTPError, ImportError) as error:  # ImportError: a proxy of a kind that httpx has an extra for
            raise OSError(type(error).__name__) from error


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
