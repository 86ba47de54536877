"""A tracking server dies, responds 500, hangs or loses responses: the sweep waits, then continues or stops cleanly."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from nightune.tasks.tracking.store import retry as retry_module
from nightune.tasks.tracking.store.errors import StoreLostError
from nightune.tasks.tracking.store.retry import retry_limit
from nightune.tasks.tracking.store.store import Store, client, open_store
from tests.faults.conftest import TrackingServer
from tests.faults.faulty_proxy import Fault, FaultyProxy
from tests.faults.sweeps import Sweep, run_states, trial_numbers, validation_points, wait_until

TRIALS = 12


@pytest.fixture
def stub() -> Iterator[FaultyProxy]:
    """A proxy in front of a stub without experiments, which starts faster than a real server."""

    class Empty(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            content = json.dumps({"experiments": []}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST  # noqa: N815 - the library's name

        def log_message(self, format: str, *values: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Empty)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    between = FaultyProxy(f"http://127.0.0.1:{server.server_address[1]}")
    yield between
    between.close()
    server.shutdown()
    server.server_close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry_module, "FIRST_PAUSE_SECONDS", 0.05)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.HANG, Fault.CLOSE])
def test_mlflows_client_waits_for_a_server_that_fails(
    stub: FaultyProxy, tmp_path: Path, fault: Fault, log: pytest.LogCaptureFixture
) -> None:
    store = open_store(tmp_path, stub.address)
    stub.fault = fault
    with pytest.raises(StoreLostError, match=rf"{stub.address}: the store has not answered.*run the same command"):
        search(store, seconds=0.1)
    threading.Timer(0.5, setattr, (stub, "fault", Fault.NONE)).start()
    assert search(store, seconds=30.0) == []
    assert "waiting for it" in log.text


def test_a_run_is_requested_once_if_only_the_response_is_lost(
    stub: FaultyProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    store = open_store(tmp_path, stub.address)
    stub.fault = Fault.LOSE_RESPONSE
    with retry_limit(0.1), pytest.raises(StoreLostError):
        client(store).create_run("1", tags={})
    assert [path for _, path, _ in stub.requests if path.endswith("runs/create")] == ["/api/2.0/mlflow/runs/create"]


def search(store: Store, seconds: float) -> list[object]:
    with retry_limit(seconds):
        return list(client(store).search_experiments())


def start(study: Path, proxy: FaultyProxy, trials: int = TRIALS, **environment: str) -> Sweep:
    study.write_text(study.read_text().replace("trials = 4", f"trials = {trials}"))
    return Sweep(
        study,
        "--engine",
        "fit",
        MLFLOW_TRACKING_URI=proxy.address,
        MLFLOW_HTTP_REQUEST_TIMEOUT="5",
        **environment,
    )


def complete(server: TrackingServer, trials: int = TRIALS) -> bool:
    database = server.database
    return trial_numbers(database) == list(range(trials)) and validation_points(database) == 2 * trials


@pytest.mark.nights
@pytest.mark.usefixtures("store_root")
@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.HANG, Fault.CLOSE, Fault.LOSE_RESPONSE])
def test_a_sweep_waits_for_its_server_and_logs_every_trial_once(
    prefect_server: str, tracking_server: TrackingServer, proxy: FaultyProxy, small_study: Path, fault: Fault
) -> None:
    sweep = start(small_study, proxy, PREFECT_API_URL=prefect_server)
    sweep.wait_for_output("trial ")
    proxy.fault = fault
    sweep.wait_for_output("waiting for it")
    time.sleep(8)
    proxy.fault = Fault.NONE
    assert sweep.wait() == 0, sweep.output
    assert complete(tracking_server)
    assert "RUNNING" not in run_states(tracking_server.database)


@pytest.mark.nights
@pytest.mark.usefixtures("store_root")
def test_a_sweep_continues_when_its_server_was_killed_and_restarted(
    prefect_server: str, tracking_server: TrackingServer, proxy: FaultyProxy, small_study: Path
) -> None:
    sweep = start(small_study, proxy, PREFECT_API_URL=prefect_server)
    sweep.wait_for_output("trial ")
    tracking_server.kill()
    sweep.wait_for_output("waiting for it")
    tracking_server.start()
    assert sweep.wait() == 0, sweep.output
    assert complete(tracking_server)


@pytest.mark.nights
@pytest.mark.usefixtures("store_root")
def test_past_the_limit_a_sweep_stops_with_one_paragraph_and_resumes_later(
    prefect_server: str, tracking_server: TrackingServer, proxy: FaultyProxy, small_study: Path
) -> None:
    sweep = start(small_study, proxy, PREFECT_API_URL=prefect_server, NIGHTUNE_STORE_PATIENCE_SECONDS="3")
    sweep.wait_for_output("trial ")
    proxy.fault = Fault.CLOSE
    assert sweep.wait() == 3, sweep.output
    assert "Traceback" not in sweep.output
    assert sweep.output.strip().splitlines()[-1].startswith(f"{proxy.address}: the store has not answered for")
    proxy.fault = Fault.NONE
    again = start(small_study, proxy, PREFECT_API_URL=prefect_server)
    assert again.wait() == 0, again.output
    assert complete(tracking_server)
    assert "RUNNING" not in run_states(tracking_server.database)


@pytest.mark.nights
@pytest.mark.usefixtures("store_root")
def test_only_one_of_two_sweeps_on_a_server_runs_and_a_killed_one_releases_the_study(
    prefect_server: str, tracking_server: TrackingServer, proxy: FaultyProxy, small_study: Path, tmp_path: Path
) -> None:
    first = start(small_study, proxy, 60, PREFECT_API_URL=prefect_server, NIGHTUNE_STORE=str(tmp_path / "one"))
    first.wait_for_output("trial ")
    second = start(small_study, proxy, 60, PREFECT_API_URL=prefect_server, NIGHTUNE_STORE=str(tmp_path / "two"))
    assert second.wait() == 3, second.output
    assert "another sweep of this study is running (process" in second.output
    first.process.kill()
    wait_until(lambda: first.process.poll() is not None)
    third = start(small_study, proxy, 60, PREFECT_API_URL=prefect_server, NIGHTUNE_STORE=str(tmp_path / "two"))
    assert third.wait() == 0, third.output
    assert complete(tracking_server, 60)
    assert "RUNNING" not in run_states(tracking_server.database)
