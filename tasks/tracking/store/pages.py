"""The address of MLflow's pages of a store: those of its server, or of the `nightune ui` that runs."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from nightune.tasks.child_server import health_status
from nightune.tasks.tracking.store.store import Store

DEFAULT_PORT = 5000
ADDRESS = "ui-address"  # file in the store's folder while `nightune ui` runs
ANSWER_SECONDS = 1.0  # on this machine


@dataclass(frozen=True, slots=True)
class Pages:
    """An address without a path, and whether something answers there now, as far as is known."""

    address: str
    is_running: bool = False
    is_local: bool = True  # served by `nightune ui`, not by a server of the store


NOT_RUNNING = Pages(f"http://127.0.0.1:{DEFAULT_PORT}")


def find_pages(store: Store) -> Pages:
    """Return the pages of a store: its server's, those of a running `nightune ui`, or where one would serve them."""
    if store.is_served:
        return Pages(store.tracking_uri, is_running=True, is_local=False)
    with suppress(OSError, UnicodeDecodeError):
        address = _file(store).read_text(encoding="utf-8")
        if health_status(f"{address}/health", ANSWER_SECONDS) is not None:  # a killed one leaves its file
            return Pages(address, is_running=True)
    return NOT_RUNNING


@contextmanager
def pages_announced(store: Store, address: str) -> Iterator[None]:
    """Let other commands find the address while the block runs."""
    file = _file(store)
    file.write_text(address, encoding="utf-8")
    try:
        yield
    finally:
        with suppress(OSError, UnicodeDecodeError):
            if file.read_text(encoding="utf-8") == address:  # not that of a second one, started later
                file.unlink()


def _file(store: Store) -> Path:
    return store.root / ADDRESS
