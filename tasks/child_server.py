"""A server in a child process: start it, wait until it answers, stop it."""

import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from nightune.tasks.http import request_status

START_SECONDS = 180.0
STOP_SECONDS = 15.0
ANSWER_SECONDS = 5.0
PAUSE_SECONDS = 0.1


class ServerStartError(Exception):
    """A server has ended or does not answer; the text names its log file."""


@dataclass(frozen=True, slots=True)
class ChildServer:
    """A server that runs in a child process, its health page and its log file."""

    name: str
    process: "subprocess.Popen[bytes]"
    health: str
    log_file: str

    def wait(self, before_waiting: Callable[[], None] = lambda: None) -> None:
        """Wait until it answers, after `before_waiting` if it does not at once; ServerStartError if it never does."""
        give_up_at = time.monotonic() + START_SECONDS
        if not self._is_ready():
            before_waiting()
        while not self._is_ready():
            if self.process.poll() is not None:
                raise ServerStartError(f"{self.name} ended before it answered; see {self.log_file}")
            if time.monotonic() > give_up_at:
                raise ServerStartError(f"{self.name} did not answer within {START_SECONDS:g} s; see {self.log_file}")
            time.sleep(PAUSE_SECONDS)

    def stop(self) -> None:
        """Terminate it, and kill it if it does not end in time."""
        self.process.terminate()
        self._wait_for_end()

    def stop_beside(self) -> None:
        """Terminate it, and wait for its end in a thread, which the interpreter waits for when it exits."""
        self.process.terminate()  # once: a second signal would interrupt what it does at its end
        threading.Thread(target=self._wait_for_end, name=f"stops {self.name}").start()

    def _wait_for_end(self) -> None:
        try:
            self.process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _is_ready(self) -> bool:
        status = health_status(self.health)
        return status is not None and status < 500  # it may ask for a password


def start_server(
    name: str,
    command: Sequence[str],
    health: str,
    log: BinaryIO,
    environment: Mapping[str, str],
    in_own_session: bool = False,
    folder: Path | None = None,
) -> ChildServer:
    """Start a server that writes to an open log file, in a folder other than the current one if given.

    In a session of its own it does not receive Ctrl-C.
    """
    process = subprocess.Popen(
        command, env=environment, stdout=log, stderr=log, start_new_session=in_own_session, cwd=folder
    )
    return ChildServer(name, process, health, log.name)


def health_status(
    address: str, timeout_seconds: float = ANSWER_SECONDS, connect_seconds: float | None = None
) -> int | None:
    """Return the status of the answer to a GET request, or None if there is no answer."""
    try:
        return request_status("GET", address, timeout_seconds, connect_seconds=connect_seconds)
    except (OSError, ValueError):
        return None
