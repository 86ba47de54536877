"""A password in an address is not stored: not in a tag, a log, a report, an error, or Prefect's record."""

import base64
import os
from pathlib import Path

import pytest

from nightune.flows.runtime.environment import tracking_uri
from nightune.tasks.tracking.sweeps.links import leaderboard_address
from nightune.tasks.tracking.sweeps.sweeps import Sweep as StoredSweep
from nightune.tasks.tracking.sweeps.sweeps import SweepStatus
from tests.faults.conftest import TrackingServer
from tests.faults.faulty_proxy import Fault, FaultyProxy
from tests.faults.sweeps import Sweep

SECRET = "hunter2-tr0ub4dor"
ENCODED = base64.b64encode(f"tuner:{SECRET}".encode()).decode()


def test_the_password_of_an_address_moves_to_where_mlflow_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://tuner:a%40b@mlflow.example:5000/path")
    assert tracking_uri() == "https://mlflow.example:5000/path"
    assert tracking_uri() == "https://mlflow.example:5000/path"
    assert (os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"]) == ("tuner", "a@b")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://tuner:secret@db/mlflow")
    assert tracking_uri() == "postgresql://tuner:secret@db/mlflow"


def test_a_link_to_the_ui_contains_no_password() -> None:
    sweep = StoredSweep("s-0", 0, "r", "1", SweepStatus.COMPLETE, "", "", "val_loss", "minimize", 1)
    address = leaderboard_address(f"https://tuner:{SECRET}@mlflow.example/", sweep)
    assert address.startswith("https://mlflow.example/#/experiments/1")
    assert SECRET not in address


def found_in(folder: Path) -> list[Path]:
    """Files of a folder that contain the secret, plain or encoded."""
    secrets = (SECRET.encode(), ENCODED.encode())
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if any(secret in path.read_bytes() for secret in secrets)]


@pytest.mark.nights
def test_an_address_that_does_not_answer_is_reported_without_its_password(store_root: Path, small_study: Path) -> None:
    address = f"http://tuner:{SECRET}@127.0.0.1:9"
    sweep = Sweep(small_study, MLFLOW_TRACKING_URI=address, NIGHTUNE_STORE_PATIENCE_SECONDS="1")
    assert sweep.wait() == 3, sweep.output
    assert "no MLflow store answers at http://127.0.0.1:9 " in sweep.output
    assert found_in(store_root.parent) == []


@pytest.mark.nights
def test_a_password_is_used_and_appears_neither_in_the_store_nor_in_the_output(
    tracking_server: TrackingServer, proxy: FaultyProxy, store_root: Path, small_study: Path
) -> None:
    address = proxy.address.replace("//", f"//tuner:{SECRET}@")
    sweep = Sweep(small_study, "--json", MLFLOW_TRACKING_URI=address)
    assert sweep.wait() == 0, sweep.output
    headers = {sent.get("Authorization") for _, path, sent in proxy.requests if path != "/health"}
    assert headers == {f"Basic {ENCODED}"}
    proxy.fault = Fault.CLOSE
    lost = Sweep(small_study, "--fresh", MLFLOW_TRACKING_URI=address, NIGHTUNE_STORE_PATIENCE_SECONDS="1")
    assert lost.wait() == 3
    assert (store_root / "prefect" / "prefect.db").exists()
    assert found_in(store_root.parent) == []
