"""A named store that does not answer is reported within seconds, and asked once."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from nightune.tasks import http
from nightune.tasks.tracking.store import first_contact as module
from nightune.tasks.tracking.store.errors import StoreError
from nightune.tasks.tracking.store.first_contact import require_answer
from nightune.tasks.tracking.store.store import open_existing_store, open_store


@pytest.fixture(autouse=True)
def nothing_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_reached", set())


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A port that accepts connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening


@pytest.mark.parametrize("scheme", ["http", "https", "postgresql", "mysql+pymysql"])
def test_a_dead_address_is_named_without_its_password(scheme: str) -> None:
    with pytest.raises(StoreError, match=r"MLFLOW_TRACKING_URI: no MLflow store answers at ") as caught:
        require_answer(f"{scheme}://tuner:secret@127.0.0.1:9/mlflow?password=secret")
    assert "secret" not in str(caught.value)
    assert "127.0.0.1:9" in str(caught.value)


def test_a_server_that_never_answers_is_not_waited_for(silent: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIMIT_SECONDS", 0.2)
    with pytest.raises(StoreError, match="no MLflow store answers"):
        require_answer(f"http://127.0.0.1:{silent.getsockname()[1]}")


@pytest.mark.parametrize(("of_interface", "is_store"), [(404, False), (502, False), (200, True), (401, True)])
def test_a_server_that_is_no_store_is_said(of_interface: int, is_store: bool) -> None:
    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(of_interface if self.path.startswith("/of/me/api/2.0/mlflow/") else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/of/me"
        with nullcontext() if is_store else pytest.raises(StoreError, match=f"status {of_interface}"):
            require_answer(address)
        server.shutdown()


def test_a_slow_import_is_not_taken_for_a_store_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = threading.Event()

    def slowly(_address: str) -> None:
        time.sleep(0.2)
        imported.set()

    monkeypatch.setattr(module, "LIMIT_SECONDS", 0.1)
    monkeypatch.setattr(module, "prepare_request", slowly)
    monkeypatch.setattr(module, "_fault", lambda _: "" if imported.is_set() else "not imported")
    require_answer("http://mlflow.example")


def test_missing_certificates_are_the_reason_that_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    http._trusted.cache_clear()
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/certificates.pem")
    with pytest.raises(StoreError, match="No such file"):
        require_answer("https://127.0.0.1:9")


def test_a_prepared_request_imports_nothing_more_of_its_library() -> None:
    code = (
        "import sys\n"
        "from nightune.tasks.http import prepare_request, request_status\n"
        "prepare_request('http://127.0.0.1:9')\n"
        "before = set(sys.modules)\n"
        "try:\n"
        "    request_status('GET', 'http://127.0.0.1:9', 1.0)\n"
        "except OSError:\n"
        "    print(sorted(name for name in set(sys.modules) - before if name.startswith('http')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


def test_a_name_that_is_looked_up_for_long_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    monkeypatch.setattr(module, "LIMIT_SECONDS", 0.1)
    monkeypatch.setattr(module, "_fault", lambda _: str(released.wait(20)))
    began = time.monotonic()
    with pytest.raises(StoreError, match="no answer"):
        require_answer("http://mlflow.example")
    released.set()
    assert time.monotonic() - began < 10


def test_a_database_that_refuses_is_named_with_its_reason(
    silent: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_refusal", lambda _: "no such database")
    with pytest.raises(StoreError, match="no such database"):
        require_answer(f"postgresql://127.0.0.1:{silent.getsockname()[1]}/mlflow")


def test_a_database_that_accepts_is_asked_once(silent: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_refusal", lambda _: "")
    address = f"postgresql://127.0.0.1:{silent.getsockname()[1]}/mlflow"
    require_answer(address)
    silent.close()
    require_answer(address)


@pytest.mark.parametrize("address", ["sqlite:////nowhere/mlflow.db", "postgresql:///mlflow?host=/tmp"])
def test_files_and_sockets_of_this_machine_are_not_asked(address: str) -> None:
    require_answer(address)


@pytest.mark.parametrize("variable", ["NIGHTUNE_SUPERVISOR", "NIGHTUNE_SERVED_BY"])
def test_a_child_waits_for_the_store_that_its_parent_reached(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "1")
    require_answer("http://127.0.0.1:9")


@pytest.mark.parametrize("opening", [open_store, open_existing_store])
def test_a_dead_store_is_not_opened(opening: object, tmp_path: Path) -> None:
    assert callable(opening)
    with pytest.raises(StoreError, match="no MLflow store answers"):
        opening(tmp_path / "mlruns", "http://127.0.0.1:9")
    assert not (tmp_path / "mlruns").exists()
