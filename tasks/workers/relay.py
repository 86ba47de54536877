"""Send the log records of a worker to its flow, which shows and logs them as its own."""

import logging
import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nightune.tasks.reporting.events import EpochEnded

TOPIC = "nightune"
EPOCH_INTERVAL_SECONDS = 0.2  # between two epochs that are shown

_FIELDS = ("levelno", "levelname", "created", "process", "news")


@contextmanager
def relayed(send: Callable[[bytes], None], level: int) -> Iterator[None]:
    """Send the records of the logger `nightune` from this level on while the block runs."""
    logger, relay = logging.getLogger("nightune"), _Relay(send, level)
    before, propagates = logger.level, logger.propagate
    logger.addHandler(relay)
    logger.setLevel(level)
    logger.propagate = False  # the flow prints them
    try:
        yield
    finally:
        logger.removeHandler(relay)
        logger.setLevel(before)
        logger.propagate = propagates


def read_record(sent: bytes) -> logging.LogRecord:
    """Return the record that a worker has sent. The bytes come from our own workers only."""
    fields = pickle.loads(sent)
    return logging.makeLogRecord({"name": "nightune", **fields})


class _Relay(logging.Handler):
    def __init__(self, send: Callable[[bytes], None], level: int) -> None:
        super().__init__(level)
        self._send, self._epoch_sent_at = send, 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Send the record; of epochs only some."""
        if isinstance(getattr(record, "news", None), EpochEnded):
            if time.monotonic() - self._epoch_sent_at < EPOCH_INTERVAL_SECONDS:
                return
            self._epoch_sent_at = time.monotonic()
        fields = {name: getattr(record, name) for name in _FIELDS if hasattr(record, name)}
        self._send(pickle.dumps({**fields, "msg": record.getMessage()}))
