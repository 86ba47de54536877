"""MLflow's pages of a store, served on this machine only."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tasks.tracking.errors import StoreError
from tasks.tracking.store import Store

START_SECONDS = 120.0


def serve_ui(store: Store, port: int, announce: Callable[[str], None]) -> None:
    """Serve until interrupted; `announce` gets the address as soon as the pages answer."""
    address = f"http://127.0.0.1:{port}"
    if _answers(address):
        raise StoreError(f"port {port}: something answers there already; choose another with --port")
    announce("Starting MLflow's pages (this takes some seconds) …")
    log_file = store.root / "ui.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(ui_command(store, port), env=os.environ | UI_ENVIRONMENT, stdout=log, stderr=log)
    try:
        _wait_until_it_answers(process, address, log_file)
        announce(f"{address}/#/experiments?workflowType=machine_learning\nCtrl-C stops it.")
        process.wait()
    except KeyboardInterrupt:
        announce("Stopped.")
    finally:
        _stop(process)


UI_ENVIRONMENT = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # half the memory; we run no jobs there


def ui_command(store: Store, port: int) -> list[str]:
    """The command that serves the store's pages on loopback."""
    return [
        *(sys.executable, "-m", "mlflow", "server"),
        *("--backend-store-uri", store.tracking_uri),
        *("--artifacts-destination", (store.root / "artifacts").as_uri()),
        *("--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
    ]


def _wait_until_it_answers(process: "subprocess.Popen[bytes]", address: str, log_file: Path) -> None:
    give_up_at = time.monotonic() + START_SECONDS
    while not _answers(address):
        if process.poll() is not None:
            raise StoreError(f"MLflow's server ended before it answered; {log_file} says why")
        if time.monotonic() > give_up_at:
            raise StoreError(f"MLflow's server did not answer within {START_SECONDS:g} s; see {log_file}")
        time.sleep(0.25)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=2) as response:
            return bool(response.status == 200)
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def _stop(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
