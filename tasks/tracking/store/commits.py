"""Commit the records of trials to a store's SQLite database without a wait for the disk, and all else with one.

SQLite waits by default until each commit is on the disk: 2 to 7 ms, and the record of a trial is six commits. In a
database with a write-ahead log, `PRAGMA synchronous=NORMAL` waits only where the log is moved into the file. A process
that is killed loses nothing; a machine that loses its power may lose the last records, whose trials train again. Every
other commit (`FULL`) waits until the whole log is on the disk, with the records before it: what a command announces as
done, as a promotion or the end of a sweep, stays.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

WAITS = "waits_for_disk"  # of a connection; None before it is settled

_databases: set[Path] = set()
_is_record: ContextVar[bool] = ContextVar("commits_are_of_a_record", default=False)


@contextmanager
def without_waiting() -> Iterator[None]:
    """Let the commits of the block not wait for the disk: those of the record of a trial, which could train again."""
    token = _is_record.set(True)
    try:
        yield
    finally:
        _is_record.reset(token)


def prepare_commits(tracking_uri: str) -> None:
    """Let `without_waiting` hold for this process's later connections to a store's database, if it is one of SQLite."""
    if not tracking_uri.startswith("sqlite:"):
        return
    from sqlalchemy import event  # noqa: PLC0415 - as MLflow, which imports it: takes a moment
    from sqlalchemy.engine import Engine, make_url  # noqa: PLC0415

    if file := make_url(tracking_uri).database:
        _databases.add(Path(file).resolve())
        for name, listener in (("connect", _recognize), ("checkout", _settle)):
            if not event.contains(Engine, name, listener):
                event.listen(Engine, name, listener)


def _recognize(connection: Any, record: Any) -> None:
    """Mark a new connection. Without a write-ahead log, a loss of power could damage the file: nothing changes."""
    if isinstance(connection, sqlite3.Connection):
        _, _, file = connection.execute("PRAGMA database_list").fetchone()
        if file and Path(file) in _databases and connection.execute("PRAGMA journal_mode").fetchone() == ("wal",):
            record.info[WAITS] = None


def _settle(connection: Any, record: Any, _proxy: object) -> None:
    """Let the next transaction of a connection wait or not: threads take turns with those of a pool."""
    waits = not _is_record.get()
    if record.info.get(WAITS, waits) != waits:
        connection.execute(f"PRAGMA synchronous={'FULL' if waits else 'NORMAL'}")
        record.info[WAITS] = waits
