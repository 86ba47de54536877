"""The client of a Dask scheduler, as local workers and a cluster's use it."""

import queue
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from nightune.tasks.workers.relay import read_record
from nightune.tasks.workers.silence import Silence

ANSWER_SECONDS = 10.0


class DaskClient:
    """Sends tasks to one worker each, and puts the log records of the workers into an inbox."""

    def __init__(self, client: Any, inbox: "queue.SimpleQueue[Any]", silence_seconds: float) -> None:
        """`client` is a `distributed.Client`, which only the extra brings.

        A worker without a heartbeat for `silence_seconds` hangs or is cut off: Dask's send one every second or few.
        """
        self._client, self._inbox, self._silence_seconds = client, inbox, silence_seconds
        self._silence = Silence()

    @property
    def is_connected(self) -> bool:
        """Whether the scheduler is there: once it is lost, the client tries for a while to find another one."""
        return bool(self._client.status == "running")

    def subscribe(self, topic: str) -> None:
        """Receive the records that workers send under a topic."""
        self._client.subscribe_topic(topic, lambda event: self._inbox.put(read_record(event[1])))

    def submit(self, function: Callable[..., Any], *values: Any, at: str) -> Any:
        """Return the future of a function that the worker at this address calls once, whatever happens to it."""
        return self._client.submit(
            function, *values, workers=[at], allow_other_workers=False, pure=False, retries=0, priority=1
        )

    def workers(self) -> dict[str, Any] | None:
        """Return what the scheduler knows of its workers, by address; None if it does not answer now.

        Those that hang or are cut off are missing, until their next heartbeat: Dask keeps them for five minutes, or for
        ever. `Client.scheduler_info` is not asked: what it returns has no workers at times.
        """
        with suppress(OSError, TimeoutError):
            answer = self._client.sync(self._client.scheduler.identity, n_workers=-1, callback_timeout=ANSWER_SECONDS)
            known: dict[str, Any] = answer["workers"]
            return {at: about for at, about in known.items() if not self._is_silent(at, about)}
        return None

    def close(self, seconds: float) -> None:
        """Release all futures."""
        with suppress(Exception):  # the sweep has ended
            self._client.close(timeout=seconds)

    def _is_silent(self, at: str, about: Any) -> bool:
        return self._silence.seconds(at, about["last_seen"]) > self._silence_seconds
