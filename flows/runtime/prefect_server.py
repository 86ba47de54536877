"""Prefect servers: the user's, one that ends with the command, or one that schedules nights.

Prefect's embedded server is a child process that outlives a killed parent: one more after every kill. Ours ends with
its parent, and starts while the other modules are imported.
"""

import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

from filelock import FileLock

from nightune.flows.runtime.console import say
from nightune.flows.runtime.environment import store_root
from nightune.flows.runtime.prefect_profiles import prefect_address
from nightune.flows.runtime.processes import follow
from nightune.models.heavy_imports import lasting_imports
from nightune.settings import SERVED_BY, read_settings
from nightune.tasks.child_environment import child_environment
from nightune.tasks.child_server import START_SECONDS, ChildServer, health_status, start_server
from nightune.tasks.tracking.store.errors import StoreError
from nightune.tasks.tracking.store.prepared_databases import place_prepared
from nightune.tasks.tracking.store.retry import masked

CONNECT_SECONDS = 3.0  # a server that is there accepts at once
BUSY_ANSWER_SECONDS = 15.0
CLOUD = "prefect.cloud"  # its workspaces may have no page of health
PORT_SECONDS = 15.0  # until the server of a killed process has freed its port
PREFECT_FOLDER = "prefect"  # in the store
ADDRESS = "server-address"  # file beside Prefect's database while `serve` runs

# As Prefect starts its embedded server: without pages, and only with the services that record runs.
_WITHOUT_SERVICES = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}

_own: set[str] = set()  # addresses of servers that end with this process' command


class WaitForServer(Protocol):
    """Waits until the server answers, and says so unless `quietly`; ServerStartError if it never does."""

    def __call__(self, quietly: bool = False) -> None: ...


@contextmanager
def prefect_server() -> Iterator[WaitForServer]:
    """Provide a server while the block runs; yield a function that waits until it answers.

    It is the server of PREFECT_API_URL or PREFECT_PROFILE, or our own, which ends beside what follows the block, and
    with this process at the latest. Call it before importing Prefect. StoreError if the named server does not answer;
    the function raises ServerStartError if our own server does not.
    """
    if named_by := _named_by():
        _refuse_dead_server(named_by, prefect_address(store_root()))
        yield lambda *_, **__: None
        return
    port = _free_port()
    child, address = _start(port, _WITHOUT_SERVICES), _address(port)
    os.environ["PREFECT_API_URL"] = address
    _own.add(address)
    try:
        yield partial(_wait, child)
    finally:
        _send_last_logs()
        _own.discard(address)
        del os.environ["PREFECT_API_URL"]
        child.stop_beside()


@contextmanager
def serving_server(port: int) -> Iterator[str]:
    """Yield the address of a server with schedules and pages, for this process and its children.

    It is the server of PREFECT_API_URL or PREFECT_PROFILE, or our own on the port. StoreError if the named server does
    not answer, or the profile names none; ServerStartError if our own does not answer.
    """
    os.environ[SERVED_BY] = str(os.getpid())
    if named_by := _named_by():
        yield _named_address(named_by)
        return
    _wait_for_port(port)
    os.environ |= {"PREFECT_SERVER_API_HOST": "127.0.0.1", "PREFECT_SERVER_API_PORT": str(port)}
    child, address = _start(port, {}), _address(port)
    file = _home() / ADDRESS
    try:
        child.wait()
        os.environ["PREFECT_API_URL"] = address
        file.write_text(address, encoding="utf-8")
        from prefect.settings import PREFECT_API_URL, temporary_settings  # noqa: PLC0415 - seconds

        with temporary_settings(updates={PREFECT_API_URL: address}):  # Prefect may have read its settings before
            yield address
    finally:
        file.unlink(missing_ok=True)
        os.environ.pop("PREFECT_API_URL", None)
        child.stop()


def is_own_server() -> bool:
    """Return True if the server ends with this process' command: no other process reads its records."""
    return read_settings().prefect_api_url in _own


def use_running_server() -> None:
    """Point Prefect to the server of the running `serve` of this store; StoreError if there is none."""
    if named_by := _named_by():
        _named_address(named_by)
        return
    file = store_root() / PREFECT_FOLDER / ADDRESS
    address = file.read_text(encoding="utf-8") if file.exists() else ""
    if not address or health_status(_health(address), BUSY_ANSWER_SECONDS, CONNECT_SECONDS) != 200:
        raise StoreError(
            f"No Prefect server is running for the store {store_root()}. Start `nightune serve STUDY`; or, if it runs "
            "elsewhere, set NIGHTUNE_STORE to its store or PREFECT_API_URL to its server."
        )
    os.environ["PREFECT_API_URL"] = address


def run(port: int, parent: int) -> None:
    """In the child: serve on loopback until the parent ends."""
    follow(parent)
    with lasting_imports():
        _create_database()
        import uvicorn  # noqa: PLC0415 - only in the child
        from prefect.server.api import server  # noqa: F401, PLC0415

    app = "prefect.server.api.server:create_app"
    uvicorn.run(app, factory=True, host="127.0.0.1", port=port, log_level="error", lifespan="on", timeout_keep_alive=5)


def _create_database() -> None:
    """Create Prefect's database in the store from the prepared one; without one for its version, Prefect creates it.

    Another database, which the user names, is left to Prefect.
    """
    from prefect.settings import get_current_settings  # noqa: PLC0415 - only in the child

    settings = get_current_settings()
    database, named = settings.home / "prefect.db", settings.server.database.connection_url
    if named is None or named.get_secret_value() != f"sqlite+aiosqlite:///{database}":
        return
    with FileLock(database.with_name(".database.lock"), timeout=START_SECONDS):
        if not database.exists():
            place_prepared("prefect", database)


def _named_by() -> str | None:
    """The variable that names another server than our own."""
    settings = read_settings()
    return "PREFECT_API_URL" if settings.prefect_api_url else "PREFECT_PROFILE" if settings.prefect_profile else None


def _named_address(variable: str) -> str:
    """Return the address of a named server that answers; StoreError otherwise."""
    address = prefect_address(store_root())
    if address is None:
        raise StoreError(f"{variable}: the profile names no server (PREFECT_API_URL), which nights need; unset it.")
    _refuse_dead_server(variable, address)
    return address


def _refuse_dead_server(variable: str, address: str | None) -> None:
    """Raise StoreError unless something answers that may be a Prefect server: it may ask for a key.

    Without this check, Prefect would retry for a minute.
    """
    if address is None:  # a profile without a server
        return
    status = health_status(_health(address), BUSY_ANSWER_SECONDS, CONNECT_SECONDS)
    if status is None or status >= 500 or (status == 404 and CLOUD not in address):
        found = "" if status is None else f" (status {status}; the address of its API ends with /api)"
        raise StoreError(
            f"{variable}: no Prefect server answers at {masked(address)}{found}. Start that server, or unset the "
            "variable to use one that ends with the command."
        )


def _wait(child: ChildServer, quietly: bool = False) -> None:
    if quietly:
        child.wait()
    else:
        child.wait(partial(say, "Waiting for Prefect's server …"))


def _health(address: str) -> str:
    return f"{address.rstrip('/')}/health"


def _start(port: int, settings: dict[str, str]) -> ChildServer:
    code = f"from nightune.flows.runtime.prefect_server import run; run({port}, {os.getpid()})"
    with (_home() / "server.log").open("ab") as log:
        return start_server(
            "Prefect's server",
            [sys.executable, "-P", "-c", code],  # -P: the working folder may hold a prefect.py
            f"{_address(port)}/health",
            log,
            child_environment() | settings,
            in_own_session=True,  # Ctrl-C must not end it before the last runs are recorded
        )


def _address(port: int) -> str:
    return f"http://127.0.0.1:{port}/api"


def _home() -> Path:
    home = store_root() / PREFECT_FOLDER
    home.mkdir(parents=True, exist_ok=True)
    return home


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait_for_port(port: int) -> None:
    give_up_at = time.monotonic() + PORT_SECONDS
    while True:
        with socket.socket() as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                free.bind(("127.0.0.1", port))
                return
            except OSError as error:
                if time.monotonic() > give_up_at:
                    text = f"port {port} is in use. Choose another with --port, or set PREFECT_API_URL to use a server."
                    raise StoreError(text) from error
        time.sleep(0.5)


def _send_last_logs() -> None:
    """Flush the log lines that Prefect sends in the background, before the server ends."""
    if "prefect" in sys.modules:
        from prefect.logging.handlers import APILogHandler  # noqa: PLC0415

        APILogHandler().flush()
