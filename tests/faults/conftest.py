"""Inject faults into sweeps as users run them: fixtures of the command line, and a tracking server."""

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.faults.faulty_proxy import FaultyProxy
from tests.faults.sweeps import kill_remaining_sweeps
from tests.flows.conftest import nightune, small_study

__all__ = ["nightune", "small_study"]


@pytest.fixture(autouse=True)
def no_sweep_left() -> Iterator[None]:
    """A test that fails leaves no sweep behind."""
    yield
    kill_remaining_sweeps()


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """The log of Nightune, even where Prefect does not pass it to the root logger."""
    logger = logging.getLogger("nightune")
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


class TrackingServer:
    """A real MLflow server on loopback, with its database and artifacts in a folder; it can be killed and started.

    `environment` names other places, in MLflow's own variables.
    """

    def __init__(self, folder: Path, port: int, environment: Mapping[str, str] | None = None) -> None:
        self.folder, self.port = folder, port
        self.database, self.log = folder / "mlflow.db", folder / f"server-{port}.log"
        self.address = f"http://127.0.0.1:{port}"
        places = ("MLFLOW_BACKEND_STORE_URI", "MLFLOW_ARTIFACTS_DESTINATION")
        own = (f"sqlite:///{self.database}", str(folder / "artifacts"))
        self.environment = environment or dict(zip(places, own, strict=True))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--host", "127.0.0.1", "--port", str(self.port)],
                env={**_environment(), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **self.environment},
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 120
        while not self._answers():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.2)

    def kill(self) -> None:
        """Kill it with all its workers."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/health", timeout=2) as response:
                return bool(response.status == 200)
        except OSError:
            return False


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_TRACKING")}


def free_port() -> int:
    """A free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def tracking_server(tmp_path: Path, empty_store: Path) -> Iterator[TrackingServer]:
    """A running server for one test."""
    folder = tmp_path / "server"
    folder.mkdir()
    shutil.copy(empty_store / "mlflow.db", folder / "mlflow.db")
    server = TrackingServer(folder, free_port())
    server.start()
    yield server
    server.kill()


@pytest.fixture
def proxy(tracking_server: TrackingServer) -> Iterator[FaultyProxy]:
    """A proxy in front of the server that fails on request."""
    between = FaultyProxy(tracking_server.address)
    yield between
    between.close()
