"""Local workers as a feed sees them: one that hangs while it starts is ended, and futile starts end the sweep."""

import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nightune.tasks.workers.contract import FUTILE_STARTS, WorkersLostError
from nightune.tasks.workers.host import HELLO_SECONDS
from nightune.tasks.workers.local_crew import LocalCrew, LocalWorker
from nightune.tasks.workers.silence import Silence


class InventedProcess:
    """A process that ends only when it is killed."""

    def __init__(self, pid: int) -> None:
        self.pid, self.returncode = pid, 0

    def poll(self) -> int | None:
        return self.returncode or None

    def kill(self) -> None:
        self.returncode = -signal.SIGKILL


class StartingCrew(LocalCrew):
    """A crew of two workers; the looks at the scheduler are ten seconds apart."""

    def __init__(self) -> None:
        super().__init__((), [], Path())
        self.joined: set[str] = set()  # names of processes
        self.started: list[str] = []
        self._now = 0.0
        self._dask = SimpleNamespace(workers=self._known)  # type: ignore[assignment]
        self._starting = Silence(lambda: self._now)
        self.workers = [LocalWorker(name, process=self._spawn(name)) for name in ("worker-1", "worker-2")]

    def _known(self) -> dict[str, Any]:
        return {f"tls://{name}": {"name": name} for name in self.joined}

    def _spawn(self, name: str) -> Any:
        process = InventedProcess(len(self.started) + 1)
        self.started.append(f"{name}-{process.pid}")
        return process

    def look_for(self, seconds: float, on_dead: Callable[[LocalWorker], None]) -> None:
        """Look at the workers for a while, as a feed does."""
        until = self._now + seconds
        while self._now < until:
            self._now += 10
            self._looked_at = float("-inf")
            self.join()
            for worker in self.dead():
                on_dead(worker)


@pytest.fixture
def crew() -> StartingCrew:
    return StartingCrew()


def test_a_worker_that_hangs_before_it_has_joined_is_replaced(
    crew: StartingCrew, caplog: pytest.LogCaptureFixture
) -> None:
    crew.joined = {"worker-2-2"}
    crew.look_for(HELLO_SECONDS, lambda worker: pytest.fail(f"{worker.name} had time to start"))
    crew.look_for(20, lambda worker: crew.replace(worker, is_futile=True))
    assert crew.started == ["worker-1-1", "worker-2-2", "worker-1-3"]
    assert "worker-1 hangs" in caplog.text
    crew.joined |= {"worker-1-3"}
    crew.look_for(2 * HELLO_SECONDS, lambda worker: pytest.fail(f"{worker.name} has joined"))
    assert [worker.address for worker in crew.workers] == ["tls://worker-1-3", "tls://worker-2-2"]


def test_workers_that_all_hang_before_they_have_joined_end_the_sweep(crew: StartingCrew) -> None:
    with pytest.raises(WorkersLostError, match="no worker is left"):
        crew.look_for(2 * FUTILE_STARTS * HELLO_SECONDS, lambda worker: crew.replace(worker, is_futile=True))
    assert len(crew.started) == 2 * FUTILE_STARTS


def test_a_worker_that_has_joined_and_is_missed_is_ended(crew: StartingCrew) -> None:
    crew.joined = {"worker-1-1", "worker-2-2"}
    crew.look_for(10, lambda worker: pytest.fail(f"{worker.name} has joined"))
    crew.joined = {"worker-2-2"}
    ended: list[str] = []
    crew.look_for(10, lambda worker: ended.append(worker.name))
    assert ended == ["worker-1"]
