"""Proxies of the environment: those that cannot be used, and loopback, which is never asked through one."""

import ipaddress
import os
import re
from collections.abc import Iterator
from importlib.util import find_spec
from urllib.parse import urlsplit

LOOPBACK = ("127.0.0.1", "localhost", "::1")
PROXIES = ("http_proxy", "https_proxy", "all_proxy")
EXCEPTIONS = "no_proxy"
SOCKS = ("socks5", "socks5h")


def ask_loopback_directly() -> None:
    """Except loopback from the proxies: our own servers answer there, and no proxy reaches them."""
    ask_directly(*LOOPBACK)


def ask_directly(*hosts: str) -> None:
    """Except hosts from the proxies.

    Both spellings get the union of both: libraries differ in which one they read first.
    """
    given = [entry for name in _spellings(EXCEPTIONS) for entry in _entries(name)]
    exceptions = ",".join(dict.fromkeys([*given, *hosts]))
    for name in _spellings(EXCEPTIONS):
        os.environ[name] = "*" if "*" in given else exceptions


def proxy_problems() -> list[str]:
    """Return a line for each variable whose value no connection can be made with: name, value, allowed."""
    if any("*" in _entries(name) for name in _spellings(EXCEPTIONS)):
        return []
    return [*_wrong_proxies(), *_wrong_exceptions()]


def _wrong_proxies() -> Iterator[str]:
    for lower in PROXIES:
        name = lower if lower in os.environ else lower.upper()
        given = os.environ.get(name, "")
        if not given:
            continue
        scheme, host = _scheme_and_host(given if "://" in given else f"http://{given}")
        shown = _without_password(given)
        if scheme not in ("http", "https", *SOCKS) or not host:
            yield f"{name}: {shown} is not the address of a proxy (http://, https://, socks5://, socks5h://)"
        elif scheme in SOCKS and find_spec("socksio") is None:
            yield f"{name}: {shown} needs a package that is not installed: pip install 'httpx[socks]', or unset {name}"


def _wrong_exceptions() -> Iterator[str]:
    for name in _spellings(EXCEPTIONS):
        for entry in _entries(name):
            if not _is_exception(entry):
                allowed = "host names, addresses and host:port, separated by commas, without IPv6 networks or brackets"
                yield f"{name}: {entry[:80]!r} cannot be read (allowed: {allowed})"


def _is_exception(entry: str) -> bool:
    """True if httpx can read it, which Prefect asks with."""
    if "://" in entry or re.fullmatch(r"[^:\[\]]*(:\d+)?", entry):
        return True
    try:
        ipaddress.IPv6Address(entry)
    except ValueError:
        return False
    return True


def _scheme_and_host(address: str) -> tuple[str, str]:
    try:
        parts = urlsplit(address)
        _ = parts.port  # ValueError where it is no number
    except ValueError:
        return "", ""
    return parts.scheme.lower(), parts.hostname or ""


def _without_password(address: str) -> str:
    scheme, mark, rest = address.rpartition("://")
    _, at, place = rest.rpartition("@")
    return repr(f"{scheme}{mark}{'***@' if at else ''}{place}"[:80])


def _spellings(lower: str) -> tuple[str, str]:
    return lower, lower.upper()


def _entries(name: str) -> list[str]:
    return [entry.strip() for entry in os.environ.get(name, "").split(",") if entry.strip()]
