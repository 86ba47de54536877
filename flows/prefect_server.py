"""The Prefect server of one command: the user's, or one of our own that ends with us.

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

from flows.environment import store_root
from flows.processes import follow
from tasks.tracking.errors import StoreError

START_SECONDS = 120.0
USERS_OWN = ("PREFECT_API_URL", "PREFECT_PROFILE")


@contextmanager
def prefect_server() -> Iterator[Callable[[], None]]:
    """Have a server while the block runs, and give a function that waits until it answers.

    The server is the one that the user's environment names, or our own. Call it before Prefect is imported. StoreError
    if our own does not answer.
    """
    if any(os.environ.get(name) for name in USERS_OWN):
        yield lambda: None
        return
    port = _free_port()
    log_file = store_root() / "prefect" / "server.log"
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with log_file.open("wb") as log:
        process = subprocess.Popen(_command(port), env=os.environ | _SERVER, stdout=log, stderr=log)
    os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
    try:
        yield lambda: _wait(process, port, str(log_file))
    finally:
        _send_last_logs()
        del os.environ["PREFECT_API_URL"]
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _send_last_logs() -> None:
    """Prefect sends log lines behind the flow's back; what is left must go before the server does."""
    if "prefect" in sys.modules:
        from prefect.logging.handlers import APILogHandler  # noqa: PLC0415

        APILogHandler().flush()


def run(port: int, parent: int) -> None:
    """In the child: serve on loopback until the parent ends."""
    follow(parent)
    import uvicorn  # noqa: PLC0415 - only in the child

    uvicorn.run(
        "prefect.server.api.server:create_app",
        factory=True,
        host="127.0.0.1",
        port=port,
        log_level="error",
        lifespan="on",
    )


# As Prefect starts its embedded one: no pages, and no services but those that record runs.
_SERVER = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}


def _command(port: int) -> list[str]:
    return [sys.executable, "-c", f"from flows.prefect_server import run; run({port}, {os.getpid()})"]


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait(process: "subprocess.Popen[bytes]", port: int, log_file: str) -> None:
    give_up_at = time.monotonic() + START_SECONDS
    while not _answers(port):
        if process.poll() is not None:
            raise StoreError(f"Prefect's server ended before it answered; {log_file} says why")
        if time.monotonic() > give_up_at:
            raise StoreError(f"Prefect's server did not answer within {START_SECONDS:g} s; see {log_file}")
        time.sleep(0.1)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False
