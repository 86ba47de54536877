"""Hooks against a real receiver on this machine and a real command."""

import json
import logging
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from nightune.settings import INTERNAL
from nightune.tasks.reporting.notify import ATTEMPTS, Event, Hooks, notify

EVENT = Event("refused", "digits", sweep="digits-3", reason="not better")


class Receiver(HTTPServer):
    """Records the requests; responds with the statuses in turn, then with 204."""

    def __init__(self, *statuses: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.statuses = list(statuses)
        self.bodies: list[dict[str, object]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/secret?token=secret"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Receiver)
        self.server.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def receiving() -> Iterator[Receiver]:
    """Yield a receiver that answers until the end."""
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    yield from receiving()


def test_a_webhook_gets_the_event_as_json(receiver: Receiver) -> None:
    assert notify(Hooks(webhook=receiver.address), EVENT)
    (body,) = receiver.bodies
    assert (body["event"], body["study"], body["sweep"], body["reason"]) == (
        "refused",
        "digits",
        "digits-3",
        "not better",
    )


def test_a_failing_webhook_is_retried(receiver: Receiver) -> None:
    receiver.statuses = [500, 503]
    assert notify(Hooks(webhook=receiver.address), EVENT, wait_seconds=0)
    assert len(receiver.bodies) == 3


def test_a_dead_webhook_is_given_up_without_raising_an_error_or_revealing_its_secret(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.statuses = [500] * ATTEMPTS
    with caplog.at_level(logging.WARNING, logger="nightune"):
        assert not notify(Hooks(webhook=receiver.address), EVENT, wait_seconds=0)
    assert len(receiver.bodies) == ATTEMPTS
    assert "status 500" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("statuses", [[], [500] * ATTEMPTS], ids=["answers", "fails"])
def test_no_library_logs_the_address_of_a_webhook(
    receiver: Receiver, caplog: pytest.LogCaptureFixture, statuses: list[int]
) -> None:
    receiver.statuses = statuses
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, logger="httpx"):
        notify(Hooks(webhook=receiver.address), EVENT, wait_seconds=0)
    assert "secret" not in caplog.text


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/secret", "http://[secret", "https://exam\x00ple.com/secret"])
def test_an_unreachable_webhook_raises_no_error(address: str, caplog: pytest.LogCaptureFixture) -> None:
    assert not notify(Hooks(webhook=address), EVENT, wait_seconds=0)
    assert "failed" in caplog.text
    assert "/secret" not in caplog.text


def test_a_command_gets_the_event_in_its_environment(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    code = "import os, sys; open(sys.argv[1], 'w').write(os.environ['NIGHTUNE_EVENT'] + os.environ['NIGHTUNE_SWEEP'])"
    assert notify(Hooks(command=(sys.executable, "-c", code, str(seen))), EVENT)
    assert seen.read_text() == "refuseddigits-3"


def test_a_command_does_not_inherit_what_nightune_sets_for_its_own_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path / "seen"
    for name in INTERNAL:
        monkeypatch.setenv(name, "1")  # with these, a `nightune` within the hook would end at once
    code = "import os, sys; open(sys.argv[1], 'w').write(' '.join(os.environ))"
    assert notify(Hooks(command=(sys.executable, "-c", code, str(seen))), EVENT)
    assert "NIGHTUNE_EVENT" in seen.read_text().split()
    assert not set(INTERNAL) & set(seen.read_text().split())


def test_text_that_an_environment_variable_cannot_hold_raises_no_error() -> None:
    assert not notify(Hooks(command=(sys.executable, "-c", "")), replace(EVENT, reason="null \0 character"))


@pytest.mark.parametrize("command", [("no-such-command-here",), (sys.executable, "-c", "raise SystemExit(3)")])
def test_a_broken_command_raises_no_error(command: tuple[str, ...]) -> None:
    assert not notify(Hooks(command=command), EVENT)
