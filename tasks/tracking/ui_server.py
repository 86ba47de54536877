"""Serve MLflow's pages of a store: on this machine only, or with a password to the network."""

import errno
import os
import secrets
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from nightune.proxies import ask_directly
from nightune.settings import read_settings
from nightune.tasks.child_server import health_status, start_server
from nightune.tasks.tracking.store.errors import StoreError
from nightune.tasks.tracking.store.pages import DEFAULT_PORT, pages_announced
from nightune.tasks.tracking.store.store import Store

LOOPBACK = ("127.0.0.1", "localhost", "::1")
PASSWORD = "NIGHTUNE_UI_PASSWORD"
USER = "admin"
DATABASE_VARIABLE = "MLFLOW_BACKEND_STORE_URI"  # not an option: a command line, with a password, is open to all users


@dataclass(frozen=True)
class Access:
    """The address of the pages, and the host names that other machines may use in requests."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    allowed_hosts: tuple[str, ...] = ()

    @property
    def is_open(self) -> bool:
        """True if other machines can reach the pages."""
        return self.host not in LOOPBACK

    @property
    def reached_at(self) -> str:
        """The host by which this machine reaches the pages, as addresses have it."""
        return _in_address({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host))


def serve_ui(store: Store, access: Access, announce: Callable[[str], None]) -> None:
    """Serve until interrupted; pass the address to `announce` as soon as the server answers.

    StoreError if the host or the port cannot be served on, or if the host is open to the network, but the password or
    the allowed hosts are missing; ServerStartError if the server does not answer. A store with a server has its pages
    there: none are served.
    """
    if store.is_served:
        announce(f"The store's server has its pages: {store.tracking_uri}")
        return
    environment = os.environ | UI_ENVIRONMENT | {DATABASE_VARIABLE: _from_any_folder(store.tracking_uri)}
    if access.is_open:
        environment |= _guarded(store, access)
    _require_place(access)
    ask_directly(access.reached_at.strip("[]"))
    address = f"http://{access.reached_at}:{access.port}"
    health = f"{address}/health"
    if health_status(health) is not None:
        raise StoreError(f"port {access.port}: something answers there already; choose another port with --port")
    announce("Starting MLflow's pages (this takes a few seconds) …")
    with (store.root / "ui.log").open("wb") as log:
        # Uvicorn puts its working folder on the path of modules: there, files may be named like libraries.
        server = start_server(
            "MLflow's server", ui_command(store, access), health, log, environment, folder=_pages(store)
        )
    try:
        server.wait()
        announce(f"{address}/#/experiments?workflowType=machine_learning")
        if access.is_open:
            announce(f"Open to the network on {access.host} for user {USER} with the password of {PASSWORD}.")
        announce("Press Ctrl-C to stop.")
        with pages_announced(store, address):
            server.process.wait()
    except KeyboardInterrupt:
        announce("Stopped.")
    finally:
        server.stop()


UI_ENVIRONMENT = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # saves half of the memory; we run no jobs there
    "PYTHONSAFEPATH": "1",  # as -P, for the processes that MLflow starts
}


def _in_address(host: str) -> str:
    """Return a host as addresses have it: IPv6 in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _require_place(access: Access) -> None:
    """Raise StoreError unless this machine can serve on the host and the port."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(access.host, access.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server: one may have just ended there
            free.bind(place)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            text = f"port {access.port}: something answers there already; choose another port with --port"
        elif error.errno == errno.EACCES:
            text = f"port {access.port} is reserved for the administrator; choose one above 1023 with --port"
        else:
            text = (
                f"--host {access.host}: no address of this machine ({error.strerror or error}); allowed: 127.0.0.1, "
                "0.0.0.0 for all of its addresses, or one of them"
            )
        raise StoreError(text) from error


def ui_command(store: Store, access: Access) -> list[str]:
    """Return the command that serves the store's pages."""
    hosts = dict.fromkeys(map(_in_address, (*access.allowed_hosts, access.reached_at, *LOOPBACK)))
    names = [f"{name}:{access.port}" for name in hosts]
    guarded = ["--app-name", "basic-auth", "--allowed-hosts", ",".join(names)] if access.is_open else []
    return [
        *(sys.executable, "-P", "-m", "mlflow", "server"),
        *("--artifacts-destination", (store.root / "artifacts").as_uri()),
        *("--host", access.host, "--port", str(access.port), "--workers", "1"),
        *guarded,
    ]


def _pages(store: Store) -> Path:
    """The folder of the server's own files."""
    folder = store.root / "pages"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _from_any_folder(tracking_uri: str) -> str:
    """Return the address with an absolute path, if it is that of an SQLite file."""
    path = tracking_uri.removeprefix("sqlite:///")
    if path == tracking_uri or path.startswith("/"):
        return tracking_uri
    return f"sqlite:///{Path(path).resolve().as_posix()}"


def _guarded(store: Store, access: Access) -> dict[str, str]:
    """Return the environment of a server with passwords; its users are kept in the store."""
    password = read_settings().ui_password
    if not password or not access.allowed_hosts:
        raise StoreError(
            f"--host {access.host}: the pages would be open to the network. Set {PASSWORD} (12 characters or more; the "
            f"user is {USER}), and give the host name that other machines use: --allowed-host NAME."
        )
    if find_spec("flask_wtf") is None:
        raise StoreError("--host: pages with a password need Flask-WTF: pip install -e '.[team]'")
    folder = _pages(store)
    settings = folder / "basic_auth.ini"
    settings.write_text(
        f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{(folder / 'users.db').as_posix()}\n"
        f"admin_username = {USER}\nauthorization_function = mlflow.server.auth:authenticate_request_basic_auth\n",
        encoding="utf-8",
    )
    return {
        "MLFLOW_AUTH_CONFIG_PATH": str(settings),
        "MLFLOW_AUTH_ADMIN_PASSWORD": password,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(32),
    }
