"""Prefect servers: the user's own, one that ends with the command, or the one that nights are scheduled by.

Prefect's embedded server is a child process that outlives a killed parent, one more after every kill. Ours follows its
parent, and starts while the rest is imported.
"""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nightune.flows.runtime.environment import store_root
from nightune.flows.runtime.processes import follow
from nightune.settings import SERVED_BY, read_settings
from nightune.tasks.tracking.store.errors import StoreError

START_SECONDS = 180.0
PORT_SECONDS = 15.0  # for a server of a killed process to let go of its port
STOP_SECONDS = 15.0
ADDRESS = "server-address"  # beside Prefect's database, while a server of nights runs

# As Prefect starts its embedded one: no pages, and no services but those that record runs.
_WITHOUT_SERVICES = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}

_own: set[str] = set()  # addresses of the servers that end with this process' command


@contextmanager
def prefect_server() -> Iterator[Callable[[], None]]:
    """Have a server while the block runs, and give a function that waits until it answers.

    The server is the one that the user's environment names, or our own. Call it before Prefect is imported. StoreError
    if our own does not answer.
    """
    settings = read_settings()
    if settings.prefect_api_url or settings.prefect_profile:
        yield lambda: None
        return
    child = _start(_free_port(), _WITHOUT_SERVICES)
    os.environ["PREFECT_API_URL"] = child.address
    _own.add(child.address)
    try:
        yield child.wait
    finally:
        _send_last_logs()
        _own.discard(child.address)
        del os.environ["PREFECT_API_URL"]
        child.stop()


@contextmanager
def serving_server(port: int) -> Iterator[str]:
    """Give the address of a server with schedules and pages, for this process and those it starts.

    StoreError where none answers: that of PREFECT_API_URL, or our own on the port.
    """
    os.environ[SERVED_BY] = str(os.getpid())
    given = read_settings().prefect_api_url
    if given:
        if not answers(given):
            raise StoreError(f"PREFECT_API_URL: no Prefect server answers at {given}")
        yield given
        return
    _wait_for_port(port)
    os.environ |= {"PREFECT_SERVER_API_HOST": "127.0.0.1", "PREFECT_SERVER_API_PORT": str(port)}
    child = _start(port, {})
    file = _home() / ADDRESS
    try:
        child.wait()
        os.environ["PREFECT_API_URL"] = child.address
        file.write_text(child.address, encoding="utf-8")
        from prefect.settings import PREFECT_API_URL, temporary_settings  # noqa: PLC0415 - seconds

        with temporary_settings(updates={PREFECT_API_URL: child.address}):  # it may have read its settings before
            yield child.address
    finally:
        file.unlink(missing_ok=True)
        os.environ.pop("PREFECT_API_URL", None)
        child.stop()


def is_alone() -> bool:
    """True if the server is this process' own, and so nobody else looks at what it is told."""
    return read_settings().prefect_api_url in _own


def use_running_server() -> None:
    """Point Prefect at the server that serves this store; StoreError where none does."""
    address = read_settings().prefect_api_url
    file = _home() / ADDRESS
    if not address and file.exists():
        address = file.read_text(encoding="utf-8")
    if not address or not answers(address):
        raise StoreError("No Prefect server runs for this store. Start `nightune serve`, or set PREFECT_API_URL.")
    os.environ["PREFECT_API_URL"] = address


def answers(address: str) -> bool:
    """True if a Prefect server answers there."""
    try:
        with urllib.request.urlopen(f"{address.rstrip('/')}/health", timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError, ValueError):
        return False


def run(port: int, parent: int) -> None:
    """In the child: serve on loopback until the parent ends."""
    follow(parent)
    import uvicorn  # noqa: PLC0415 - only in the child

    app = "prefect.server.api.server:create_app"
    uvicorn.run(app, factory=True, host="127.0.0.1", port=port, log_level="error", lifespan="on", timeout_keep_alive=5)


@dataclass(frozen=True)
class _Child:
    process: "subprocess.Popen[bytes]"
    address: str
    log_file: Path

    def wait(self) -> None:
        """Wait until it answers; StoreError if it does not."""
        give_up_at = time.monotonic() + START_SECONDS
        while not answers(self.address):
            if self.process.poll() is not None:
                raise StoreError(f"Prefect's server ended before it answered; {self.log_file} says why")
            if time.monotonic() > give_up_at:
                raise StoreError(f"Prefect's server did not answer within {START_SECONDS:g} s; see {self.log_file}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        try:
            self.process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _start(port: int, settings: dict[str, str]) -> _Child:
    log_file = _home() / "server.log"
    with log_file.open("ab") as log:
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                f"from nightune.flows.runtime.prefect_server import run; run({port}, {os.getpid()})",
            ],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)} | settings,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for us: the server must outlive what is still to be recorded
        )
    return _Child(process, f"http://127.0.0.1:{port}/api", log_file)


def _home() -> Path:
    home = store_root() / "prefect"
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
                    said = f"port {port} is in use. Choose another with --port, or set PREFECT_API_URL to use a server."
                    raise StoreError(said) from error
        time.sleep(0.5)


def _send_last_logs() -> None:
    """Prefect sends log lines behind the flow's back; what is left must go before the server does."""
    if "prefect" in sys.modules:
        from prefect.logging.handlers import APILogHandler  # noqa: PLC0415

        APILogHandler().flush()
