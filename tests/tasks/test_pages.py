"""The address of MLflow's pages: that of the `nightune ui` that runs, of the store's server, or where one would be."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from nightune.tasks.tracking.store.pages import ADDRESS, NOT_RUNNING, Pages, find_pages, pages_announced
from nightune.tasks.tracking.store.store import Store


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def running() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Healthy)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, f"sqlite:///{tmp_path}/mlflow.db")


def test_the_running_pages_are_found_until_they_stop(store: Store, running: str) -> None:
    with pages_announced(store, running):
        assert find_pages(store) == Pages(running, is_running=True)
    assert find_pages(store) == NOT_RUNNING
    assert not (store.root / ADDRESS).exists()


def test_the_file_of_killed_pages_is_not_believed(store: Store, running: str) -> None:
    (store.root / ADDRESS).write_text("http://127.0.0.1:9")
    assert find_pages(store) == NOT_RUNNING
    (store.root / ADDRESS).write_bytes(b"\xff")
    assert find_pages(store) == NOT_RUNNING


def test_pages_that_stop_leave_the_file_of_later_ones(store: Store, running: str) -> None:
    with pages_announced(store, "http://127.0.0.1:9"):
        (store.root / ADDRESS).write_text(running)
    assert find_pages(store).address == running


def test_a_server_has_its_own_pages(tmp_path: Path) -> None:
    assert find_pages(Store(tmp_path, "http://mlflow.example")) == Pages(
        "http://mlflow.example", is_running=True, is_local=False
    )
