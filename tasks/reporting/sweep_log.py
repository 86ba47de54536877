"""Write one log file per sweep: a JSON object per line, with time, trial and key; stored with the sweep's run."""

import json
import logging
import os
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from nightune.tasks.reporting.events import TrialEnded
from nightune.tasks.setting import Setting
from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.errors import StoreError
from nightune.tasks.tracking.store.retry import masked, retry_limit
from nightune.tasks.tracking.trials.trials import attach

logger = logging.getLogger("nightune")


@contextmanager
def kept_messages() -> Iterator[list[logging.LogRecord]]:
    """Keep the block's messages in a list: a sweep's log cannot be opened before the sweep is chosen."""
    keeper = _Keeper(logging.INFO)
    with _listening(keeper):
        yield keeper.records


@contextmanager
def sweep_log(setting: Setting, earlier: Sequence[logging.LogRecord] = ()) -> Iterator[None]:
    """Log the earlier messages, the block's and its end; a resumed sweep appends to the same file."""
    path = log_path(setting.store.root, setting.sweep.id)
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = _JsonLines(path, setting.sweep.id)
    try:
        with _listening(handler):
            handler.write(logging.INFO, "begins")
            for finding in setting.data.findings:  # said before the sweep was opened
                handler.write(logging.WARNING, f"data · {finding}")
            for record in earlier:
                handler.handle(record)
            yield
            handler.write(logging.INFO, "complete")
    except BaseException as error:
        handler.write(logging.ERROR, f"ends with {type(error).__name__}: {error}", trace=traceback.format_exc())
        raise
    finally:
        with suppress(OSError):  # the disk is full: some lines are missing
            handler.close()
        if handler.lost:
            logger.warning("%d lines of the log could not be written", handler.lost)
        _attach_log(setting, path)


def log_path(store_root: Path, sweep_id: str) -> Path:
    """Return the log file of a sweep; afterwards it is also an artifact in `log/` of the sweep's run."""
    return store_root / "logs" / f"{sweep_id}.jsonl"


@contextmanager
def _listening(handler: logging.Handler) -> Iterator[None]:
    """Pass the logger's messages from INFO on to a handler."""
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(min(logger.getEffectiveLevel(), logging.INFO))
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


def _attach_log(setting: Setting, path: Path) -> None:
    try:
        with retry_limit(2.0):  # the sweep is ending, and the local file remains anyway
            attach(setting.store, setting.sweep.run_id, [path], names.LOG_FOLDER)
    except (StoreError, OSError) as error:
        logger.warning("the log could not be attached to the sweep's run and remains at %s: %s", path, error)


class _Keeper(logging.Handler):
    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the record."""
        self.records.append(record)


class _JsonLines(logging.FileHandler):
    def __init__(self, path: Path, sweep_id: str) -> None:
        super().__init__(path, encoding="utf-8")
        self.setLevel(logging.INFO)
        self._sweep_id = sweep_id
        self.lost = 0

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Count a line that could not be written: a full disk must not stop the sweep."""
        self.lost += 1

    def write(self, level: int, message: str, trace: str = "") -> None:
        """Write a line."""
        self.handle(logging.LogRecord("nightune", level, "", 0, message, None, None, sinfo=trace or None))

    def format(self, record: logging.LogRecord) -> str:
        news = getattr(record, "news", None)
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "sweep": self._sweep_id,
            "process": record.process or os.getpid(),  # that of a worker
            "message": masked(record.getMessage()),
        }
        if isinstance(news, TrialEnded):
            trial = news.result.trial
            line |= {"trial": trial.number, "key": trial.key, "status": str(news.result.status)}
            line |= {"run": news.result.run_id}
            if news.result.traceback:
                line["trace"] = news.result.traceback
        if record.stack_info:
            line["trace"] = masked(record.stack_info)
        return json.dumps(line, ensure_ascii=False)
